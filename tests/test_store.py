"""What is kept: by default nothing but counts, otherwise for as long and for whom it is meant, on both databases."""

from __future__ import annotations

import base64
import json
import multiprocessing
import os
import sqlite3
import stat
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from databases import fresh_database
from handmade import CHECK, MENTION, report
from notegap.config import KeyRing, load
from notegap.errors import StoreError, UsageError
from notegap.model import Evidence, Metadata, Note, Report, Suggestion
from notegap.report.json import as_dict
from notegap.service.database import Database
from notegap.service.store import REPORTS, Store

CANARY = "Quetzalcoatlus"
KEYS = KeyRing((("k1", b"1" * 32),))
NEW_KEYS = KeyRing((("k2", b"2" * 32), ("k1", b"1" * 32)))
DAY = timedelta(days=1)


def made(word: str = CANARY) -> Report:
    """A report that quotes the note wherever a report can."""
    note = Note(
        id=f"{word}.txt",
        text=f"{word} has laxity.",
        codes=("M24.28",),
        date_of_service="2026-04-30",
        metadata=Metadata(**{each.name: word for each in fields(Metadata)}),
    )
    findings = tuple(replace(each, evidence=(Evidence(0, len(word), word),)) for each in CHECK.findings)
    suggestion = Suggestion(
        concept="disease",
        start=0,
        end=3,
        text=word,
        code="M45.6",
        title="Ankylosing spondylitis lumbar region",
        alias="ankylosing spondylitis",
        score=0.9,
        findings=("M49.86/disease",),
    )
    whole = report(replace(CHECK, findings=findings), note=note)
    return replace(whole, mentions=(replace(MENTION, text=word),), suggestions=(suggestion,))


def everything(store: Store) -> str:
    """All that stands in the database, as a text in which a word would be found."""
    said = []
    with store.database.read() as connection:
        if store.database.is_postgres:
            tables = connection.execute(
                text("SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'")
            )
        else:
            tables = connection.execute(text("SELECT name FROM sqlite_master WHERE type = 'table'"))
        names = [name for (name,) in tables]
        for name in names:
            for row in connection.execute(text(f'SELECT * FROM "{name}"')):
                said += [
                    bytes(each).decode("latin-1") if isinstance(each, bytes | memoryview) else str(each) for each in row
                ]
    assert {"counts", "reports"} <= set(names)
    return "\n".join(said)


def keys_of(value: Any) -> set[str]:
    """Every key in a value, all the way down."""
    if isinstance(value, dict):
        return set(value) | keys_of([*value.values()])
    return set().union(*(keys_of(each) for each in value)) if isinstance(value, list | tuple) else set()


def in_files(folder: Path, word: str = CANARY) -> list[str]:
    """The files of a folder, all the way down, in which the word stands."""
    return [str(path) for path in folder.rglob("*") if path.is_file() and word.encode() in path.read_bytes()]


@pytest.fixture
def database(database_url: str) -> Any:
    opened = Database(database_url)
    yield opened
    opened.close()


# ── how much is kept ──


def test_by_default_nothing_is_kept_but_counts(database_url: str, tmp_path: Path) -> None:
    store = Store.from_config(load(environment={"NOTEGAP_DATABASE_URL": database_url}).config)
    assert store.record(made(), tenant="a", client="c") is None
    assert store.record(made(), tenant="a", client="c") is None
    assert store.counts(tenant="a") == {
        "M24.28/basis uncertain": 2,
        "M24.28/ligament vague": 2,
        "M24.28/mechanism missing": 2,
        "M24.28/stenosis raised": 2,
        "reports": 2,
    }
    assert store.reports(tenant="a") == ()
    assert CANARY not in everything(store)
    # Also while SQLite's log still stands beside the file, and after.
    assert in_files(tmp_path) == []
    store.close()
    assert in_files(tmp_path) == []


def test_reports_are_kept_without_a_word_of_the_note(database: Database, tmp_path: Path) -> None:
    store = Store(database, keep="reports")
    kept_id = store.record(made(), tenant="a", client="c")
    assert kept_id is not None
    assert CANARY not in everything(store)
    assert in_files(tmp_path) == []
    kept = store.report(kept_id, tenant="a")
    assert kept is not None
    assert (kept.kept, kept.client, kept.note) == ("reports", "c", None)
    whole = as_dict(made())
    assert set(whole) - set(kept.report) == {"id", "date_of_service", "metadata"}
    assert keys_of(whole) - keys_of(kept.report) == {"date_of_service", "text", "metadata", *whole["metadata"]} - {
        "status"
    }
    told = [(each["id"], each["status"]) for each in kept.report["checks"][0]["findings"]]
    assert told == [(each["id"], each["status"]) for each in whole["checks"][0]["findings"]]
    assert kept.report["checks"][0]["findings"][0]["evidence"] == [{"start": 0, "end": len(CANARY)}]


def test_all_is_kept_encrypted(database: Database, tmp_path: Path) -> None:
    store = Store(database, keep="full", keys=KEYS)
    kept_id = store.record(made(), tenant="a", client="c")
    assert kept_id is not None
    assert CANARY not in everything(store)
    assert in_files(tmp_path) == []
    kept = store.report(kept_id, tenant="a")
    assert kept is not None
    assert kept.report == as_dict(made())
    assert kept.note is not None
    assert kept.note["text"] == made().note.text
    assert CANARY not in repr(kept)


def test_notes_are_not_kept_without_a_key(database: Database) -> None:
    with pytest.raises(StoreError, match="only kept encrypted"):
        Store(database, keep="full")
    with pytest.raises(UsageError, match="only kept encrypted"):
        load(environment={"NOTEGAP_STORE": "full"})


def test_reports_are_encrypted_too_when_there_is_a_key(database: Database) -> None:
    store = Store(database, keep="reports", keys=KEYS)
    kept_id = store.record(made(), tenant="a", client="c")
    assert "M24.28/region" not in everything(store)
    assert store.report(str(kept_id), tenant="a") is not None


# ── keys ──


def test_keys_change(database: Database) -> None:
    first = Store(database, keep="full", keys=KEYS)
    old = str(first.record(made(), tenant="a", client="c"))
    store = Store(database, keep="full", keys=NEW_KEYS)
    new = str(store.record(made(), tenant="a", client="c"))
    assert [store.report(each, tenant="a") is not None for each in (old, new)] == [True, True]
    with pytest.raises(StoreError, match=r"the key 'k2' .* is not among"):
        first.report(new, tenant="a")
    assert (store.rotate(), store.rotate()) == (1, 0)
    only_new = Store(database, keep="full", keys=KeyRing(NEW_KEYS.keys[:1]))
    kept = only_new.report(old, tenant="a")
    assert kept is not None
    assert kept.report == as_dict(made())


def test_what_was_kept_in_the_clear_is_encrypted_by_rotate(database: Database) -> None:
    kept_id = str(Store(database, keep="reports").record(made(), tenant="a", client="c"))
    store = Store(database, keep="reports", keys=KEYS)
    assert store.rotate() == 1
    assert "M24.28/region" not in everything(store)
    assert store.report(kept_id, tenant="a") is not None
    with pytest.raises(StoreError, match="no key to encrypt with"):
        Store(database, keep="reports").rotate()


def test_another_key_of_the_same_name(database: Database) -> None:
    kept_id = str(Store(database, keep="full", keys=KEYS).record(made(), tenant="a", client="c"))
    other = Store(database, keep="full", keys=KeyRing((("k1", b"x" * 32),)))
    with pytest.raises(StoreError, match="another key"):
        other.report(kept_id, tenant="a")


@pytest.mark.parametrize(
    "change", ["body = body || body", "tenant = 'b'", "id = '00000000-0000-0000-0000-000000000000'"]
)
def test_what_was_changed_or_moved_is_not_given_out(database: Database, change: str) -> None:
    store = Store(database, keep="full", keys=KEYS)
    store.record(made(), tenant="a", client="c")
    if change.startswith("body") and not database.is_postgres:
        change = "body = CAST(body || body AS BLOB)"
    with database.write() as connection:
        connection.execute(text(f"UPDATE reports SET {change}"))
        row = connection.execute(REPORTS.select()).one()
    with pytest.raises(StoreError, match="was changed"):
        store.report(row.id, tenant=row.tenant)


# ── whose it is ──


def test_tenants_never_see_each_others_data(database: Database) -> None:
    store = Store(database, keep="full", keys=KEYS)
    mine = str(store.record(made("Mine"), tenant="a", client="c"))
    theirs = str(store.record(made("Theirs"), tenant="b", client="c"))
    store.count("cards", tenant="b", number=3)
    assert store.report(theirs, tenant="a") is None
    assert store.report(mine, tenant="b") is None
    assert [each.id for each in store.reports(tenant="a")] == [mine]
    assert [each.id for each in store.reports(tenant="b")] == [theirs]
    assert "cards" not in store.counts(tenant="a")
    assert store.counts(tenant="b")["cards"] == 3
    assert store.counts(tenant="") == {}
    assert store.delete(theirs, tenant="a") is False
    assert store.report(theirs, tenant="b") is not None
    for odd in ("a' OR '1'='1", "%", "a\0", "A"):
        if "\0" in odd and database.is_postgres:
            continue  # PostgreSQL refuses it outright
        assert store.reports(tenant=odd) == ()


def test_reports_are_listed_newest_first_a_page_at_a_time(database: Database) -> None:
    store = Store(database, keep="reports")
    ids = [str(store.record(made(), tenant="a", client="c")) for _ in range(5)]
    first = store.reports(tenant="a", limit=2)
    second = store.reports(tenant="a", limit=2, before=first[-1].at)
    assert [each.id for each in (*first, *second)] == [*reversed(ids)][:4]


# ── how long ──


def test_what_is_deleted_is_gone(database: Database, tmp_path: Path) -> None:
    store = Store(database, keep="reports")
    kept_id = str(store.record(made(), tenant="a", client="c"))
    assert (store.delete(kept_id, tenant="a"), store.delete(kept_id, tenant="a")) == (True, False)
    assert store.report(kept_id, tenant="a") is None
    assert "schema_version" not in everything(store)
    if not database.is_postgres:
        with sqlite3.connect(tmp_path / "notegap.sqlite3") as plain:
            plain.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        plain.close()
        # Overwritten, not only unlinked.
        assert in_files(tmp_path, "schema_version") == []


def test_what_is_too_old_is_not_given_out_and_goes(database: Database) -> None:
    store = Store(database, keep="reports", retention_days=7)
    old, young = (str(store.record(made(), tenant="a", client="c")) for _ in range(2))
    for kept_id, age in ((old, 8), (young, 6)):
        at = (datetime.now(UTC) - age * DAY).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        with database.write() as connection:
            connection.execute(REPORTS.update().where(REPORTS.c.id == kept_id).values(at=at))
    assert store.report(old, tenant="a") is None
    assert [each.id for each in store.reports(tenant="a")] == [young]
    # A store that starts purges when it first keeps something.
    Store(database, keep="reports", retention_days=7).record(made(), tenant="b", client="c")
    with database.read() as connection:
        assert {row.id for row in connection.execute(REPORTS.select())} > {young}
        assert old not in {row.id for row in connection.execute(REPORTS.select())}
    assert store.purge() == 0


# ── the database ──


def _records(url: str, times: int) -> None:
    store = Store(Database(url), keep="reports")
    for _ in range(times):
        store.record(made(), tenant="a", client="c")
    store.close()


def test_processes_that_start_and_write_together_lose_nothing(database_url: str) -> None:
    spawn = multiprocessing.get_context("spawn")
    workers = [spawn.Process(target=_records, args=(database_url, 10)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    store = Store(Database(database_url), keep="reports")
    assert store.counts(tenant="a")["reports"] == 30
    assert len(store.reports(tenant="a", limit=100)) == 30
    store.close()


def test_the_sqlite_file_is_its_owners_and_has_a_log(tmp_path: Path) -> None:
    path = tmp_path / "state" / "notegap.sqlite3"
    store = Store(Database(f"sqlite:///{path}"))
    store.count("x", tenant="a")
    for file in path.parent.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    with sqlite3.connect(path) as plain:
        assert plain.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    plain.close()
    store.close()


def test_a_database_in_memory_is_shared_by_threads() -> None:
    from concurrent.futures import ThreadPoolExecutor

    store = Store(Database("sqlite://"))
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: store.count("x", tenant="a"), range(40)))
    assert store.counts(tenant="a") == {"x": 40}
    store.close()


def test_tables_of_another_version_are_left_alone(database: Database) -> None:
    Store(database)
    with database.write() as connection:
        connection.execute(text("UPDATE notegap_schema SET version = 99"))
    with pytest.raises(StoreError, match="another version of notegap"):
        Store(database)


@pytest.mark.parametrize("url", ["mysql://host/db", "no url", "sqlite+aiosqlite:///x"])
def test_a_url_of_another_kind(url: str) -> None:
    with pytest.raises(UsageError, match=r"database\.url"):
        Database(url)


def test_a_database_that_cannot_be_reached_is_told_without_its_password(tmp_path: Path) -> None:
    with pytest.raises(StoreError) as caught:
        Store(Database(f"postgresql://me:{CANARY}@127.0.0.1:1/db?connect_timeout=2"))
    assert "postgresql" in str(caught.value)
    assert CANARY not in repr(caught.value)
    assert caught.value.__suppress_context__
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be opened"):
        Database(f"sqlite:///{tmp_path / 'file' / 'x.sqlite3'}")
    (tmp_path / "text").write_text("no database" * 1000)
    with pytest.raises(StoreError, match="the database cannot be used"):
        Store(Database(f"sqlite:///{tmp_path / 'text'}"))


def test_what_breaks_in_the_database_tells_no_value(database: Database) -> None:
    store = Store(database)
    with database.write() as connection:
        connection.execute(text("DROP TABLE counts"))
    with pytest.raises(StoreError) as caught:
        store.count(CANARY, tenant="a")
    assert CANARY not in str(caught.value)
    assert caught.value.__suppress_context__


def test_both_give_the_same_answers(postgres: str, tmp_path: Path) -> None:
    answers = []
    with fresh_database(postgres) as url:
        for each in (f"sqlite:///{tmp_path / 'n.sqlite3'}", url):
            store = Store(Database(each), keep="full", keys=KEYS)
            ids = [str(store.record(made(word), tenant="a", client="c")) for word in ("one", "é", "\U0001f600\0")]
            kept = [store.report(kept_id, tenant="a") for kept_id in ids]
            bodies = [(k.client, k.kept, json.dumps(k.report), json.dumps(k.note)) for k in kept if k is not None]
            answers.append((bodies, store.counts(tenant="a"), store.delete(ids[0], tenant="a"), store.purge()))
            store.close()
    assert answers[0] == answers[1]
    assert len(answers[0][0]) == 3


def test_keys_of_the_environment_reach_the_store(database_url: str) -> None:
    key = base64.b64encode(os.urandom(32)).decode()
    variables = {"NOTEGAP_DATABASE_URL": database_url, "NOTEGAP_STORE": "full", "NOTEGAP_DATABASE_KEYS": f"k:{key}"}
    store = Store.from_config(load(environment=variables).config)
    kept = store.report(str(store.record(made(), tenant="a", client="c")), tenant="a")
    assert kept is not None
    assert kept.note is not None
    store.close()
