"""Commands for whoever runs the service: its configuration, its keys, its audit log, what it keeps."""

from __future__ import annotations

import getpass
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from notegap.errors import UsageError
from notegap.report.sink import print_out
from notegap.service.principal import ROLES, SCOPES, Principal

if TYPE_CHECKING:
    from notegap.config import Loaded
    from notegap.service.access import ApiKey
    from notegap.service.backend import Backend

DONE, FOUND, NOTHING_THERE = 0, 1, 3

_EXIT_CODES = """\b
Exit codes:
  0  done
  2  something broke: an option, the configuration, the database
  3  there is nothing: no key, no report of this id
"""
_VERIFY_EXIT_CODES = """\b
Exit codes:
  0  whole: nothing was changed, removed, reordered or cut off
  1  something was; each line says what
  2  something broke: an option, the configuration, the database
  3  there is no entry
"""
_PACKAGES = {
    "fastapi": "fastapi",
    "uvicorn": "uvicorn",
    "prometheus_client": "prometheus-client",
    "sqlalchemy": "SQLAlchemy",
    "psycopg": "psycopg",
    "cryptography": "cryptography",
    "jwt": "PyJWT",
}

config_option = click.option(
    "--config",
    "config_file",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="The configuration; without it, what NOTEGAP_CONFIG names, or notegap.toml in this folder.",
)
"""Which file the service is configured by."""


def need_packages(command: str) -> None:
    """Raise UsageError when a package of the extra `serve` is not installed."""
    lacking = [package for module, package in _PACKAGES.items() if find_spec(module) is None]
    if lacking:
        raise UsageError(
            f"`notegap {command}` needs {' and '.join(lacking)}, which {'is' if len(lacking) == 1 else 'are'} not "
            "installed: pip install 'notegap[serve]'"
        )


# ── config ──────────────────────────────────────────────────────────────────────────────────────


@click.command(name="config")
@config_option
def config_command(config_file: Path | None) -> int:
    """Show the service's configuration as it is in effect: what each key means and where its value comes from.

    Secrets are not shown.
    """
    from notegap.config import effective

    print_out(effective(_loaded(config_file)))
    return DONE


# ── keys ────────────────────────────────────────────────────────────────────────────────────────


@click.group(name="keys", epilog=_EXIT_CODES)
def keys_group() -> None:
    """API keys: make one for a client, list them, revoke one."""


@keys_group.command(name="add", epilog=_EXIT_CODES)
@click.argument("client")
@click.option("--role", type=click.Choice(list(ROLES)), required=True, help="What the client may do.")
@click.option("--tenant", required=True, help="Whose data it sees: its own tenant's only.")
@click.option(
    "--scope", "scopes", type=click.Choice(list(SCOPES)), multiple=True, help="Only this of what the role may do."
)
@click.option("--days", type=click.IntRange(min=1), help="It expires after so many days.")
@config_option
def keys_add(
    client: str, role: str, tenant: str, scopes: tuple[str, ...], days: int | None, config_file: Path | None
) -> int:
    """Make an API key for CLIENT and print it. It is not kept, only a hash of it: it cannot be shown again."""
    from notegap.service.access import ApiKeys

    expires = datetime.now(UTC) + timedelta(days=days) if days is not None else None
    with _backend(config_file, "keys") as backend:
        keys = ApiKeys(backend.store.database)
        made, secret = keys.add(client, role=role, tenant=tenant, scopes=scopes, expires=expires)
        backend.audit_log.append("key-add", _operator(tenant), subject=made.id)
    print_out(f"{secret}\n")
    click.echo(f"notegap: this is the key of {client!r}, shown this once; its id is {made.id}", err=True)
    return DONE


@keys_group.command(name="list", epilog=_EXIT_CODES)
@config_option
def keys_list(config_file: Path | None) -> int:
    """List the API keys: id, tenant, client, role, scopes, and whether each still opens anything."""
    from notegap.service.access import ApiKeys

    with _backend(config_file, "keys") as backend:
        keys = ApiKeys(backend.store.database).list()
    for key in keys:
        print_out(
            "\t".join((key.id, key.tenant, key.client, key.role, " ".join(key.scopes) or "all", _state(key))) + "\n"
        )
    return DONE if keys else NOTHING_THERE


def _state(key: ApiKey) -> str:
    if key.revoked:
        return f"revoked {key.revoked[:10]}"
    if not key.expires:
        return "no end"
    return f"until {key.expires[:10]}" if key.is_good else f"expired {key.expires[:10]}"


@keys_group.command(name="revoke", epilog=_EXIT_CODES)
@click.argument("key_id", metavar="ID")
@config_option
def keys_revoke(key_id: str, config_file: Path | None) -> int:
    """Revoke the API key with this id: from now on it opens nothing."""
    from notegap.service.access import ApiKeys

    with _backend(config_file, "keys") as backend:
        keys = ApiKeys(backend.store.database)
        key = next((each for each in keys.list() if each.id == key_id), None)
        if key is None or not keys.revoke(key_id):
            click.echo("notegap: there is no key of this id that is not revoked already", err=True)
            return NOTHING_THERE
        backend.audit_log.append("key-revoke", _operator(key.tenant), subject=key_id)
    return DONE


# ── audit-log ───────────────────────────────────────────────────────────────────────────────────


@click.group(name="audit-log", epilog=_VERIFY_EXIT_CODES)
def audit_log_group() -> None:
    """The audit log: who did what, when; verify that it is whole."""


@audit_log_group.command(name="verify", epilog=_VERIFY_EXIT_CODES)
@click.option("--head", "kept", metavar="HEAD", help="A head that was kept elsewhere: the log has to go on from it.")
@config_option
def audit_log_verify(kept: str | None, config_file: Path | None) -> int:
    """Verify that no entry was changed, removed, put elsewhere or cut off."""
    from notegap.service.audit_log import Head

    anchor = Head.parse(kept) if kept is not None else None
    with _backend(config_file, "audit-log") as backend:
        verdict = backend.audit_log.verify(anchor)
    for fault in verdict.faults:
        print_out(f"{fault}\n")
    if verdict.faults:
        return FOUND
    if not verdict.entries:
        click.echo("notegap: there is no entry in the audit log", err=True)
        return NOTHING_THERE
    print_out(f"{verdict.entries} {'entry' if verdict.entries == 1 else 'entries'}, whole; head {verdict.head}\n")
    return DONE


@audit_log_group.command(name="head", epilog=_EXIT_CODES)
@config_option
def audit_log_head(config_file: Path | None) -> int:
    """Print the head of the log, to be kept where nobody who can write to the database can change it."""
    with _backend(config_file, "audit-log") as backend:
        head = backend.audit_log.head()
    if head is None:
        return NOTHING_THERE
    print_out(f"{head}\n")
    return DONE


# ── store ───────────────────────────────────────────────────────────────────────────────────────


@click.group(name="store", epilog=_EXIT_CODES)
def store_group() -> None:
    """What the service keeps: delete what is too old, delete one report or batch, change the key."""


@store_group.command(name="purge", epilog=_EXIT_CODES)
@config_option
def store_purge(config_file: Path | None) -> int:
    """Delete what is older than the retention period; the service does so too, once an hour."""
    return _store_work(config_file, "purged", lambda backend: backend.store.purge())


@store_group.command(name="rotate", epilog=_EXIT_CODES)
@config_option
def store_rotate(config_file: Path | None) -> int:
    """Encrypt with the first key of `database.keys` what is encrypted with another one; then the other can go."""
    return _store_work(config_file, "encrypted again", lambda backend: backend.rotate())


@store_group.command(name="delete", epilog=_EXIT_CODES)
@click.argument("kept_id", metavar="ID")
@click.option("--tenant", required=True, help="Whose it is.")
@config_option
def store_delete(kept_id: str, tenant: str, config_file: Path | None) -> int:
    """Delete the report with this id, and its note, or the batch that was put by when the service was stopped."""
    with _backend(config_file, "store") as backend:
        if backend.store.delete(kept_id, tenant=tenant):
            action = "report-delete"
        elif backend.put_by.delete(kept_id, tenant=tenant):
            action = "batch-delete"
        else:
            click.echo("notegap: this tenant has no report and no batch of this id", err=True)
            return NOTHING_THERE
        backend.audit_log.append(action, _operator(tenant), subject=kept_id)
    return DONE


def _store_work(config_file: Path | None, done: str, work: Callable[[Backend], int]) -> int:
    with _backend(config_file, "store") as backend:
        number = work(backend)
        backend.audit_log.append(f"store-{done.partition(' ')[0]}", _operator("-"))
    print_out(f"{number} {done}\n")
    return DONE


# ── outbox ──────────────────────────────────────────────────────────────────────────────────────


@click.group(name="outbox", epilog=_EXIT_CODES)
def outbox_group() -> None:
    """The results of HL7 v2 messages that are to be handed on: list what is not delivered, try it again."""


@outbox_group.command(name="list", epilog=_EXIT_CODES)
@config_option
def outbox_list(config_file: Path | None) -> int:
    """List what waits and what is dead: id, tenant, destination, since when, state, attempts, what went wrong."""
    from notegap.service.hl7.outbox import State

    with _backend(config_file, "outbox") as backend:
        entries = backend.outbox.list(State.WAITING, State.DEAD)
    for entry in entries:
        since, attempts = entry.at[:19], str(entry.attempts)
        print_out(
            "\t".join((entry.id, entry.tenant, entry.destination, since, entry.state, attempts, entry.problem)) + "\n"
        )
    return DONE if entries else NOTHING_THERE


@outbox_group.command(name="retry", epilog=_EXIT_CODES)
@click.argument("entry_id", metavar="ID", required=False)
@config_option
def outbox_retry(entry_id: str | None, config_file: Path | None) -> int:
    """Try the dead entry with this id again, or without one all that are dead; a service that runs delivers them."""
    with _backend(config_file, "outbox") as backend:
        number = backend.outbox.retry(entry_id)
        if not number:
            click.echo(
                "notegap: nothing is dead" if entry_id is None else "notegap: no entry of this id is dead", err=True
            )
            return NOTHING_THERE
        backend.audit_log.append("outbox-retry", _operator("-"), subject=entry_id or "")
    print_out(f"{number} tried again\n")
    return DONE


COMMANDS: tuple[click.Command, ...] = (config_command, keys_group, audit_log_group, store_group, outbox_group)
"""What the command line adds."""


def _loaded(config_file: Path | None, **options: Any) -> Loaded:
    from notegap.config import load

    return load(config_file, options=options)


@contextmanager
def _backend(config_file: Path | None, command: str) -> Iterator[Backend]:
    need_packages(command)
    from notegap.service.backend import Backend

    backend = Backend.from_config(_loaded(config_file).config)
    try:
        yield backend
    finally:
        backend.close()


def _operator(tenant: str) -> Principal:
    """Whoever runs a command on the machine."""
    try:
        name = getpass.getuser()
    except (OSError, KeyError):  # a user without a name, as in a container
        name = "unknown"
    return Principal(tenant=tenant, client=name[:200], role="admin", scopes=frozenset(), by="cli")
