"""The audit log: whatever is done to it is found out, and no note can be read or guessed from it."""

from __future__ import annotations

import base64
import hashlib
import multiprocessing
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from notegap import cli
from notegap.config import NO_KEYS, KeyRing
from notegap.errors import StoreError, UsageError
from notegap.model import Note
from notegap.service.audit_log import ENTRIES, HEAD, AuditLog, Head
from notegap.service.database import Database
from notegap.service.principal import LOCAL, Principal

CANARY = "Quetzalcoatlus"
KEYS = KeyRing((("k1", b"1" * 32),))
WHO = Principal(tenant="a", client="clinic", role="coder", scopes=frozenset({"check"}), by="key")


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    opened = Database(database_url)
    yield opened
    opened.close()


def written(database: Database, number: int = 5) -> AuditLog:
    log = AuditLog(database, KEYS)
    for each in range(number):
        log.append("check", WHO, note=Note(id="n", text=f"{CANARY} {each}"), subject=f"r{each}")
    return log


def do(database: Database, *statements: str) -> None:
    with database.write() as connection:
        for statement in statements:
            connection.execute(text(statement))


def test_it_tells_who_did_what_when_to_which_note(database: Database) -> None:
    log = written(database)
    log.append("report-delete", LOCAL, subject="r1", outcome="refused")
    with database.read() as connection:
        rows = [dict(row) for row in connection.execute(ENTRIES.select().order_by(ENTRIES.c.number)).mappings()]
    assert [row["number"] for row in rows] == [1, 2, 3, 4, 5, 6]
    first, last = rows[0], rows[-1]
    assert (first["tenant"], first["client"], first["role"], first["known_by"]) == ("a", "clinic", "coder", "key")
    assert (first["action"], first["outcome"], first["subject"]) == ("check", "ok", "r0")
    assert first["note"] == log.note_hash(f"{CANARY} 0", tenant="a")
    assert (last["action"], last["outcome"], last["note"]) == ("report-delete", "refused", "")
    assert rows[0]["at"] <= rows[-1]["at"]
    verdict = log.verify()
    assert (verdict.entries, verdict.faults, verdict.head) == (6, (), log.head())


def test_a_note_is_named_by_a_hash_that_nobody_can_guess(database: Database) -> None:
    log = written(database, 1)
    with database.read() as connection:
        stored = str(connection.execute(ENTRIES.select()).all()) + str(connection.execute(HEAD.select()).all())
    assert CANARY not in stored
    for guess in (f"{CANARY} 0", f"a\0{CANARY} 0"):
        assert hashlib.sha256(guess.encode()).hexdigest() not in stored
    assert log.note_hash("x", tenant="a") == log.note_hash("x", tenant="a")
    assert log.note_hash("x", tenant="a") != log.note_hash("x", tenant="b")
    assert AuditLog(database, KeyRing((("k1", b"2" * 32),))).note_hash("x", tenant="a") != log.note_hash(
        "x", tenant="a"
    )


@pytest.mark.parametrize("text_", [f"the {CANARY}", "Check", "", "a" * 65, "check\n"])
def test_no_sentence_fits_into_an_entry(database: Database, text_: str) -> None:
    log = AuditLog(database, KEYS)
    for action, outcome, subject in ((text_, "ok", ""), ("check", text_, ""), ("check", "ok", f"{CANARY} {text_}")):
        with pytest.raises(ValueError, match="is a name or an id") as caught:
            log.append(action, WHO, outcome=outcome, subject=subject)
        assert CANARY not in str(caught.value)


COLUMNS = [column.name for column in ENTRIES.columns if column.name not in ("number", "seal")]


@pytest.mark.parametrize("column", COLUMNS)
def test_a_change_of_any_column_is_found(database: Database, column: str) -> None:
    log = written(database)
    do(database, f"UPDATE audit_log SET {column} = 'x' WHERE number = 3")
    assert any("entry 3" in fault for fault in log.verify().faults)


@pytest.mark.parametrize(
    ("statements", "faults"),
    [
        (["UPDATE audit_log SET seal = note WHERE number = 2"], ["entry 2 was changed", "entry 3 was changed"]),
        (["DELETE FROM audit_log WHERE number = 2"], ["entry 2 is missing"]),
        (["DELETE FROM audit_log WHERE number IN (2, 3)"], ["entries 2 to 3 are missing"]),
        (["DELETE FROM audit_log WHERE number = 1"], ["entry 1 is missing"]),
        (
            [
                "DELETE FROM audit_log WHERE number = 2",
                "UPDATE audit_log SET number = 2 WHERE number = 3",
                "UPDATE audit_log SET number = 3 WHERE number = 4",
                "UPDATE audit_log SET number = 4 WHERE number = 5",
            ],
            [
                "entry 2 was changed",
                "entry 3 was changed",
                "entry 4 was changed",
                "the last entries are missing: there are 4",
            ],
        ),
        (
            [
                "UPDATE audit_log SET number = 99 WHERE number = 2",
                "UPDATE audit_log SET number = 2 WHERE number = 3",
                "UPDATE audit_log SET number = 3 WHERE number = 99",
            ],
            ["entry 2 was changed", "entry 3 was changed", "entry 4 was changed"],
        ),
        (["DELETE FROM audit_log WHERE number > 3"], ["the last entries are missing: there are 3, the head says 5"]),
        (["DELETE FROM audit_log"], ["the last entries are missing: there are 0, the head says 5"]),
        (
            [
                "DELETE FROM audit_log WHERE number > 3",
                "UPDATE audit_log_head SET number = 3, last = (SELECT seal FROM audit_log WHERE number = 3)",
            ],
            ["the head was changed"],
        ),
        (["UPDATE audit_log_head SET number = 4"], ["the head was changed"]),
        (["DELETE FROM audit_log_head"], ["the head is missing"]),
        (["UPDATE audit_log_head SET key_id = 'k9'"], ["the head was changed, or its key is not there"]),
        (
            [
                "INSERT INTO audit_log SELECT 6, at, tenant, client, role, known_by, action, outcome, subject, note, "
                "key_id, seal FROM audit_log WHERE number = 5"
            ],
            ["entry 6 was changed", "the head says that entry 5 is the last one, and another one is"],
        ),
    ],
)
def test_what_was_done_to_it_is_found(database: Database, statements: list[str], faults: list[str]) -> None:
    log = written(database)
    do(database, *statements)
    found = log.verify().faults
    assert len(found) == len(faults)
    for said, due in zip(found, faults, strict=True):
        assert said.startswith(due)


def test_an_old_state_put_back_as_a_whole_is_found_by_a_head_kept_elsewhere(database: Database) -> None:
    log = written(database, 3)
    with database.read() as connection:
        old = dict(connection.execute(HEAD.select()).one()._mapping)
    written(database, 2)
    kept = log.head()
    assert kept is not None
    do(database, "DELETE FROM audit_log WHERE number > 3")
    with database.write() as connection:
        connection.execute(HEAD.update().values(old))
    assert log.verify().faults == ()
    assert log.verify(kept).faults == ("the last entries are missing: there are 3, the head that was kept says 5",)
    # And written on from there: the same length, another history.
    written(database, 4)
    assert log.verify().faults == ()
    assert log.verify(kept).faults == ("entry 5 is not the one of the head that was kept",)


def test_a_log_that_was_changed_is_not_written_on(database: Database) -> None:
    log = written(database)
    do(database, "UPDATE audit_log_head SET number = 4")
    with pytest.raises(StoreError, match="audit log was changed"):
        log.append("check", WHO)


def test_keys_change(database: Database) -> None:
    written(database, 2)
    both = AuditLog(database, KeyRing((("k2", b"2" * 32), ("k1", b"1" * 32))))
    both.append("check", WHO)
    assert (both.verify().entries, both.verify().faults) == (3, ())
    new_only = AuditLog(database, KeyRing((("k2", b"2" * 32),)))
    assert new_only.verify().faults == tuple(
        f"entry {number} is sealed with the key 'k1', which is not there" for number in (1, 2)
    )
    wrong = AuditLog(database, KeyRing((("k2", b"x" * 32), ("k1", b"1" * 32))))
    assert len(wrong.verify().faults) == 2


def test_without_a_key_no_log_is_kept(database: Database) -> None:
    log = AuditLog(database, NO_KEYS)
    log.append("check", WHO)
    with pytest.raises(UsageError, match="NOTEGAP_AUDIT_KEYS"):
        log.verify()


def _appends(url: str) -> None:
    written(Database(url), 20)


def test_processes_that_write_together_make_one_chain(database: Database, database_url: str) -> None:
    spawn = multiprocessing.get_context("spawn")
    workers = [spawn.Process(target=_appends, args=(database_url,)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    verdict = AuditLog(database, KEYS).verify()
    assert (verdict.entries, verdict.faults) == (60, ())


def test_many_faults_are_not_all_told(database: Database) -> None:
    log = written(database, 30)
    do(database, "UPDATE audit_log SET subject = 'x'")
    assert log.verify().faults[-1] == "and 10 more"


# ── the command ──


@pytest.fixture
def by_command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, database_url: str) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NOTEGAP_DATABASE_URL", database_url)
    monkeypatch.setenv("NOTEGAP_AUDIT_KEYS", f"k1:{base64.b64encode(b'1' * 32).decode()}")


@pytest.mark.usefixtures("by_command")
def test_verify_has_an_exit_code_for_each_outcome(
    database: Database, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cli.main(["audit-log", "verify"]) == 3
    assert cli.main(["audit-log", "head"]) == 3
    capsys.readouterr()
    log = written(database)
    assert cli.main(["audit-log", "verify"]) == 0
    assert capsys.readouterr().out == f"5 entries, whole; head {log.head()}\n"
    assert cli.main(["audit-log", "head"]) == 0
    kept = capsys.readouterr().out.strip()
    assert Head.parse(kept) == log.head()
    do(database, "DELETE FROM audit_log WHERE number = 2")
    assert cli.main(["audit-log", "verify", "--head", kept]) == 1
    assert capsys.readouterr().out == "entry 2 is missing\n"
    assert cli.main(["audit-log", "verify", "--head", "5"]) == 2
    monkeypatch.delenv("NOTEGAP_AUDIT_KEYS")
    assert cli.main(["audit-log", "verify"]) == 2
    assert "NOTEGAP_AUDIT_KEYS" in capsys.readouterr().err
