"""The running half of an audit: what is stopped goes on, a bad note costs no other, copies are found, nothing leaks."""

from __future__ import annotations

import json
import os
import random
import resource
import signal
import sqlite3
import stat
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from audit_stub import StubAnalyzer, quick
from notegap.audit.bare import Published, packed
from notegap.audit.batch import Plan, rules_of, run_audit
from notegap.audit.ledger import Ledger, key_of
from notegap.audit.near import bands, signature, similarity
from notegap.audit.rows import AuditedNote, Outcome, hash_of
from notegap.audit.run import Tally, audit, audit_rows
from notegap.audit.seen import Seen
from notegap.audit.select import Sample, Selection, parse_sample
from notegap.audit.work import Here, Pool, Workers
from notegap.errors import NoteError, NotegapError, UsageError
from notegap.model import Metadata, Note, Part, Report, Setting
from notegap.notes.document import RowError
from notegap.notes.inputs import How, Row, read_rows
from notegap.notes.text import NoteOptions
from notegap.report.json import as_dict, one_line

CANARY = "Quetzalcoatl"
WORDS = ["laxity", "stenosis", "listhesis", "kyphosis", "disc", "canal", "facet", "ligament", "cord", "root"]


def note_text(number: int, words: int = 60) -> str:
    drawn = random.Random(number)
    return f"gaps note-{number} " + " ".join(drawn.choice(WORDS) + str(drawn.randrange(50)) for _ in range(words))


def rows_of(notes: Iterable[Note | RowError | str]) -> list[Row]:
    made = (Note(id=f"n{n}", text=note) if isinstance(note, str) else note for n, note in enumerate(notes, start=1))
    return [Row(number, "in.jsonl", note) for number, note in enumerate(made, start=1)]


def audited(
    notes: Iterable[Note | RowError | str], workers: Workers | None = None, ledger: Ledger | None = None
) -> list[AuditedNote]:
    workers = workers or Here(StubAnalyzer(), None)
    return list(audit_rows(rows_of(notes), workers, ledger or Ledger(), Seen(), rules="r1"))


def table(path: Path, texts: Iterable[str]) -> Path:
    path.write_text("".join(json.dumps({"id": f"n{n}", "text": text}) + "\n" for n, text in enumerate(texts)))
    return path


def run(plan: Plan, build: Any = quick) -> tuple[Tally | None, list[str]]:
    told: list[str] = []
    tally = run_audit(
        plan,
        build,
        say=lambda where, remark: told.append(f"{where}: {remark}"),
        tell=told.append,
        print_out=lambda text: told.append(text),
    )
    return tally, told


# ── stopped and resumed ─────────────────────────────────────────────────────────────────────────


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines()


def killed_at(seconds: float, source: Path, out: Path) -> bool:
    """Audit in a process of its own and kill it so long after its first report; whether it was still at work."""
    command = [sys.executable, str(Path(__file__).with_name("audit_stub.py")), str(source), str(out)]
    process = subprocess.Popen(command, start_new_session=True)
    partial = Path(f"{out}.partial")
    try:
        while process.poll() is None and not (partial.exists() and partial.stat().st_size):
            time.sleep(0.01)
        return process.wait(timeout=seconds) is None
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.wait()
        return True
    finally:
        for _ in range(100):  # its workers see that it is gone, and go
            try:
                os.killpg(process.pid, 0)
            except ProcessLookupError:
                break
            time.sleep(0.1)
        else:
            os.killpg(process.pid, signal.SIGKILL)
            pytest.fail("the workers stayed behind")


def test_killed_ten_times_and_resumed_it_equals_an_unbroken_run(tmp_path: Path) -> None:
    texts = [note_text(number % 1000) for number in range(1200)]
    texts[20] = texts[900] = "crash it"
    source = table(tmp_path / "in.jsonl", texts)
    broken, whole = tmp_path / "broken.jsonl", tmp_path / "whole.jsonl"
    drawn = random.Random()
    kept = [0]
    for _ in range(10):
        assert killed_at(drawn.uniform(0, 0.4), source, broken), "it was done too soon"
        kept.append(kept_in(Path(f"{broken}.ledger")))
    # Where the machine is busy, so short a time is not enough for the first fifty: longer, until there is something.
    longer = 0.5
    while not kept[-1]:
        assert killed_at(longer, source, broken), "it was done too soon"
        kept.append(kept_in(Path(f"{broken}.ledger")))
        longer += 0.5
    assert kept == sorted(kept), "what was kept was lost"
    assert not killed_at(100, source, broken)
    assert not killed_at(100, source, whole)
    assert broken.read_bytes() == whole.read_bytes()
    assert len(lines(whole)) == 1200
    assert lines(Path(f"{broken}.quarantine.jsonl")) == lines(Path(f"{whole}.quarantine.jsonl"))
    assert kept_in(Path(f"{broken}.ledger")) == kept_in(Path(f"{whole}.ledger")) == 999


def kept_in(ledger: Path) -> int:
    with sqlite3.connect(ledger) as database:
        try:
            (count,) = database.execute("SELECT count(*) FROM reports").fetchone()
        except sqlite3.OperationalError:
            return 0  # killed before its tables were there
    database.close()
    return int(count)


def test_what_the_ledger_has_is_not_analyzed_again(tmp_path: Path) -> None:
    asked: list[str] = []

    class Counting(StubAnalyzer):
        def analyze(self, note: Note) -> Any:
            asked.append(note.id)
            return super().analyze(note)

    notes = [note_text(1), note_text(2), note_text(1), "crash it"]
    found = []
    for more in ((), (note_text(3),)):
        with Ledger(tmp_path / "l") as ledger:
            found.append(audited([*notes, *more], Here(Counting(), None), ledger))
    assert asked == ["n1", "n2", "n4", "n4", "n5"], "what failed is tried again, nothing else"
    assert found[1][:4] == found[0]


def test_other_rules_or_another_question_is_another_key() -> None:
    note = Note(id="a", text="gaps it", codes=("M24.28",))
    same = replace(note, id="b", date_of_service="2026-04-30", metadata=Metadata(provider="Dr. B"))
    keys = {
        key_of(each, hash_of(each.text), rules)
        for each in (
            note,
            same,
            replace(note, codes=()),
            replace(note, claim_codes=()),
            replace(note, claim_codes=("M24.28",)),
            replace(note, setting=Setting.INPATIENT),
            replace(note, text="gaps it "),
        )
        for rules in ("r1", "r2")
    }
    assert len(keys) == 12


def test_the_rules_are_named_by_knowledge_and_version(monkeypatch: pytest.MonkeyPatch) -> None:
    knowledge = StubAnalyzer().knowledge
    before = rules_of(knowledge)
    monkeypatch.setattr("notegap.__version__", "99")
    assert rules_of(knowledge) != before


# ── one bad note ────────────────────────────────────────────────────────────────────────────────


def test_notes_that_hang_or_kill_their_process_cost_no_other() -> None:
    texts = [note_text(number) for number in range(40)]
    bad = {5: "die it", 6: "die too", 12: "slow it", 20: "hang it", 30: "crash it"}
    for number, text in bad.items():
        texts[number] = text
    with Pool(quick, 2, 0.5) as pool:
        found = audited(texts, pool)
    assert [note.row for note in found] == list(range(1, 41))
    errors = {note.row - 1: note.error for note in found if note.outcome is Outcome.FAILED}
    assert set(errors) == set(bad)
    assert errors[5] == errors[6] == "the process that read it died (SIGKILL)"
    assert errors[12] == errors[20] == "took longer than 0.5 seconds and was stopped; --timeout gives it more"
    assert errors[30].startswith("notegap broke on this note: IndexError at ")


def test_a_slow_note_is_stopped_without_processes_too() -> None:
    slow, after = audited(["slow it", "gaps it"], Here(StubAnalyzer(), 1))
    assert slow.error.startswith("took longer than 1 seconds")
    assert after.outcome is Outcome.CHECKED


def test_what_breaks_on_a_note_is_told_alike_in_a_batch_and_in_an_audit() -> None:
    class Broken(StubAnalyzer):
        def analyze(self, note: Note) -> Report:
            raise errors[note.id]

    errors = {"known": NoteError("it is no text"), "memory": MemoryError(), "unknown": IndexError("a word of it")}
    notes = [Note(id=name, text="gaps word") for name in errors]
    batch = list(audit(notes, Broken().analyze))
    assert [(one.id, one.where) for one in batch if isinstance(one, RowError)] == [
        ("known", "row 1"),
        ("memory", "row 2"),
        ("unknown", "row 3"),
    ]
    told = [one.message for one in batch if isinstance(one, RowError)]
    assert told == [Here(Broken(), None).start(note)().error for note in notes]
    assert told[:2] == ["it is no text", "there is not enough memory for this note"]
    assert told[2].startswith("notegap broke on this note: IndexError at ")


def test_files_that_are_slow_to_read_are_read_in_the_processes(tmp_path: Path) -> None:
    for number in range(40):
        (tmp_path / f"{number:02}.html").write_text(f"<p>gaps note {number}</p>")
    (tmp_path / "03.html").write_text("<p></p>")
    (tmp_path / "05.pdf").write_bytes(b"%PDF-1.7 cut")
    (tmp_path / "07.xml").write_text("<?xml version='1.0'?><a/>")
    (tmp_path / "09.txt").write_text("gaps it")

    def read(pool: Pool | None) -> tuple[list[Row], list[tuple[str, str]], int]:
        said: list[tuple[str, str]] = []
        sizes: list[int] = []
        how = How(elsewhere=lambda: pool.read if pool else None, took=sizes.append, timeout=5)
        rows = list(read_rows([str(tmp_path)], NoteOptions(), how, lambda *remark: said.append(remark)))
        return rows, said, sum(sizes)

    with Pool(quick, 2, 5) as pool:
        there = read(pool)
    assert there == read(None)
    assert len(there[0]) == 42
    assert [row.note.id for row in there[0] if isinstance(row.note, RowError)] == ["03.html", "05.pdf"]


def broken_build() -> StubAnalyzer:
    raise MemoryError


def test_processes_that_do_not_start_are_told() -> None:
    with pytest.raises(NotegapError, match="do not start"), Pool(broken_build, 2, None) as pool:
        audited(["gaps it"] * 3, pool)


def test_a_copy_of_a_note_that_failed_fails_without_another_try() -> None:
    first, _, copy = audited(["crash it", "gaps it", "crash it"])
    assert (copy.error, copy.where) == (first.error, "row 3")
    assert copy.duplicate_of is None


# ── copies ──────────────────────────────────────────────────────────────────────────────────────


def test_copies_and_near_copies_are_found_in_order() -> None:
    text = note_text(1, words=200)
    near = text.replace("laxity", "instability", 3)
    notes: list[Note | RowError | str] = [
        text,
        note_text(2),
        text,
        near,
        near,
        replace(Note(id="m", text=text), codes=("M24.28",)),
    ]
    found = audited(notes)
    assert [note.duplicate_of for note in found] == [None, None, 1, None, 4, None]
    assert [note.near_duplicate_of for note in found] == [None, None, None, 1, None, 1]
    assert found[3].similarity is not None
    assert 0.85 <= found[3].similarity < 1
    assert found[5].similarity == 1.0, "the same text, of which something else is asked"


def test_a_copy_has_its_own_id_date_and_metadata() -> None:
    notes = [
        Note(id=name, text="gaps it", date_of_service=day, metadata=Metadata(provider=name))
        for name, day in (("a", "2026-01-01"), ("b", "2026-02-02"))
    ]
    first, copy = audited(notes)
    assert copy.duplicate_of == 1
    assert (copy.provider, copy.date) == ("b", "2026-02-02")
    assert copy.report is not None
    assert first.report is not None
    own = {"id": "b", "date_of_service": "2026-02-02", "metadata": {"provider": "b"}}
    assert copy.report == {**first.report, **own}


def test_signatures() -> None:
    one, other = signature(note_text(1)), signature(note_text(2))
    assert len(one) == 512
    assert similarity(one, one) == 1.0
    assert similarity(one, other) < 0.2
    assert len(set(bands(one))) == 16
    assert bands(signature("")) == () == bands(signature("\ud800 "))
    assert similarity(signature("Two words"), signature("two WORDS")) == 1.0
    # Whoever signs, wherever: the same.
    assert bands(signature("The cord is free at every level."))[0] == BAND


KNOWN = {"MRI", "L4-L5", "fall"}  # also the name of a value
BAND = -5098098074817592869


def test_ids_that_come_again_are_counted() -> None:
    seen = Seen()
    assert [seen.id_again(name) for name in ("a", "b", "a", "\ud800", "\ud800")] == [False, False, True, False, True]


# ── which rows ──────────────────────────────────────────────────────────────────────────────────


def selected(selection: Selection, rows: Sequence[Row]) -> tuple[list[int], int]:
    undated: list[int] = []
    return [row.number for row in selection.of(lambda _quiet: rows, undated.append)], sum(undated)


def test_selection() -> None:
    days = ["2026-01-01", "2026-02-01", None, "2026-03-01"]
    notes: list[Note | RowError] = [Note(id="n", text="t", date_of_service=day) for day in days]
    rows = rows_of([*notes, RowError("e", "f:5", "bad")])
    assert selected(Selection(since="2026-02-01"), rows) == ([2, 3, 4, 5], 1)
    assert selected(Selection(limit=2), rows) == ([1, 2], 0)
    assert selected(Selection(since="2026-02-01", limit=2), rows) == ([2, 3], 0)
    many = rows_of(["t"] * 1000)
    for sample, least, most in (
        (Sample(number=100), 100, 100),
        (Sample(share=0.1), 70, 130),
        (Sample(share=1), 1000, 1000),
    ):
        found, _ = selected(Selection(sample=sample), many)
        assert least <= len(found) <= most
        assert found == sorted(found)
        assert found == selected(Selection(sample=sample), many)[0], "the same each time"
    half = Selection(sample=Sample(share=0.5))
    drawn = {tuple(selected(half, [replace(row, source=f"{n}.csv") for row in many[:8]])[0]) for n in range(20)}
    assert len(drawn) > 10, "of another file other rows"


@pytest.mark.parametrize("text", ["0", "-1", "0%", "101%", "x", "", "5%%", "1.5"])
def test_no_sample(text: str) -> None:
    with pytest.raises(UsageError):
        parse_sample(text)


# ── the ledger ──────────────────────────────────────────────────────────────────────────────────


def test_a_report_comes_back_as_it_was(analyzer: Any) -> None:
    text = "ASSESSMENT: Chronic laxity of the ligaments at L4-L5 after a fall. MRI: possible spinal stenosis.\n"
    note = Note(
        id="a",
        text=text,
        codes=("M24.28", "M48.061"),
        date_of_service="2026-04-30",
        metadata=Metadata(date="x"),
        parts=(Part(0, 10, "section", title=CANARY),),
    )
    report = as_dict(analyzer.analyze(note))
    published = Published(packed(report, note), note)
    assert json.dumps(dict(published)) == json.dumps(report)
    assert published.line == one_line(report)
    bare = dict(Published(packed(report, note), Note(id="", text="")))
    quotes = {text[mention["start"] : mention["end"]] for mention in report["mentions"]}
    assert {"laxity", "possible"} & {word for quote in quotes for word in quote.split()}
    assert not [quote for quote in (*quotes, CANARY) if f'"{quote}"' in json.dumps(bare) and quote not in KNOWN]


def test_no_word_of_a_note_is_kept(tmp_path: Path) -> None:
    texts = [f"gaps {CANARY} {n}" for n in range(60)] + [f"crash {CANARY}", f"slow {CANARY}"]
    source = table(tmp_path / "in.jsonl", texts)
    out = tmp_path / "out.jsonl"
    plan = Plan(sources=(str(source),), options=NoteOptions(), outs=(out,), workers=2, timeout=0.5)
    tally, told = run(plan)
    assert tally is not None
    assert (tally.read, tally.failed) == (62, 2)
    ledger, quarantine = Path(f"{out}.ledger"), Path(f"{out}.quarantine.jsonl")
    database = sqlite3.connect(ledger)
    reports = [report for (report,) in database.execute("SELECT report FROM reports")]
    database.close()
    assert len(reports) == 60
    note = Note(id="", text="")
    kept = [*map(repr, (dict(Published(report, note)) for report in reports)), quarantine.read_text(), *told]
    kept += [file.read_bytes().decode("latin-1") for file in tmp_path.glob("out.jsonl.*")]
    assert not [each for each in kept if CANARY.lower() in each.lower()]
    assert CANARY in out.read_text()
    first = json.loads(lines(quarantine)[0])
    assert first.pop("reason").startswith("notegap broke on this note: IndexError")
    assert first == {"id": "n60", "source": "in.jsonl", "row": 61, "where": "row 61"}
    assert [stat.S_IMODE(path.stat().st_mode) for path in (ledger, quarantine)] == [0o600, 0o600]


def test_a_quarantine_of_an_earlier_run_does_not_stay(tmp_path: Path) -> None:
    source, out = table(tmp_path / "in.jsonl", ["crash it"]), tmp_path / "out.jsonl"
    plan = Plan(sources=(str(source),), options=NoteOptions(), outs=(out,))
    run(plan)
    assert Path(f"{out}.quarantine.jsonl").exists()
    table(source, ["gaps it"])
    run(plan)
    assert not Path(f"{out}.quarantine.jsonl").exists()


def test_what_is_no_ledger_is_left_alone(tmp_path: Path) -> None:
    text, other, damaged = tmp_path / "notes.txt", tmp_path / "other.db", tmp_path / "damaged.ledger"
    text.write_text("a note " * 500)
    with sqlite3.connect(other) as database:
        database.execute("CREATE TABLE t (x)")
    database.close()
    for path in (text, other):
        before = path.read_bytes()
        for fresh in (False, True):
            with pytest.raises(NotegapError, match="no ledger of notegap"):
                Ledger(path, fresh=fresh)
        assert path.read_bytes() == before
    with pytest.raises(NotegapError, match="is no file"):
        Ledger(tmp_path)
    with Ledger(damaged):
        pass
    damaged.write_bytes(damaged.read_bytes()[:100] + b"\xff" * 8000)
    with pytest.raises(NotegapError, match="--fresh begins it anew"), Ledger(damaged) as ledger:
        audited(["gaps it"], ledger=ledger)
    with Ledger(damaged, fresh=True) as ledger:
        audited(["gaps it"], ledger=ledger)


def test_two_audits_do_not_share_a_ledger(tmp_path: Path) -> None:
    with Ledger(tmp_path / "l") as ledger:
        audited(["gaps it"], ledger=ledger)
        code = (
            "import sys; from pathlib import Path; from notegap.audit.ledger import Ledger; Ledger(Path(sys.argv[1]))"
        )
        done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "l")], capture_output=True, check=False)
    assert b"another audit is at work with it" in done.stderr


def test_a_full_disk_is_told_and_the_audit_goes_on_later(tmp_path: Path) -> None:
    drawn = random.Random(1)
    texts = [f"gaps {drawn.randbytes(3000).hex()}" for _ in range(300)]
    source, out = table(tmp_path / "in.jsonl", texts), tmp_path / "out.jsonl"
    plan = Plan(sources=(str(source),), options=NoteOptions(), outs=(out,), ledger=tmp_path / "l")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, before[1]))
    try:
        with pytest.raises(NotegapError, match=r"out\.jsonl: cannot be written \(file too large\)"):
            run(replace(plan, workers=1))
        with pytest.raises(NotegapError, match=r"l2: cannot be written, the disk seems to be full; make room and run"):
            run(replace(plan, workers=1, outs=(Path("/dev/null"),), ledger=tmp_path / "l2"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert kept_in(tmp_path / "l") > 10
    assert not out.exists()
    tally, _ = run(plan)
    assert tally is not None
    assert (tally.gaps, len(lines(out))) == (300, 300)
