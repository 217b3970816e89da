"""What an audit reads: archives within bounds, exports with what stands beside them, tables, databases, big folders."""

from __future__ import annotations

import base64
import gzip
import io
import json
import os
import random
import resource
import subprocess
import sys
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sqlalchemy

from databases import fresh_database
from notegap.errors import NoteError, UsageError
from notegap.model import Metadata, Note, Setting
from notegap.notes import packed
from notegap.notes.document import RowError
from notegap.notes.inputs import How, Row, read_notes, read_rows, size_of
from notegap.notes.text import NoteOptions

INTERFACE = Path(__file__).resolve().parents[2] / "shared" / "interface"
LAXITY = "Chronic laxity of the ligaments at L4-L5."
HL7 = (
    "MSH|^~\\&|A|B|C|D|20260430||MDM^T02|{id}|P|2.5\rTXA|1|PN|TX|20260430\rPV1|1|O|SPINE\r"
    "OBX|1|TX|11506-3^Note^LN||{text}||||||F\r"
)


def rows(
    *sources: str | Path, options: NoteOptions | None = None, how: How | None = None
) -> tuple[list[Row], list[str]]:
    said: list[str] = []
    found = list(
        read_rows(
            [str(source) for source in sources],
            options or NoteOptions(),
            how,
            lambda where, remark: said.append(f"{Path(where).name}: {remark}"),
        )
    )
    return found, said


def ids(found: Iterable[Row]) -> list[str]:
    return [row.note.id for row in found]


def errors(found: Iterable[Row]) -> dict[str, str]:
    return {row.note.id: row.note.message for row in found if isinstance(row.note, RowError)}


def json_lines(texts: Mapping[str, str]) -> bytes:
    return "".join(json.dumps({"id": name, "text": text}) + "\n" for name, text in texts.items()).encode()


def zipped(files: Mapping[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return data.getvalue()


# ── several inputs ──────────────────────────────────────────────────────────────────────────────


def test_rows_are_counted_over_all_inputs_and_a_bad_one_costs_no_other(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(json_lines({"a1": "t", "a2": "t"}))
    (tmp_path / "b.csv").write_text("no,column\n1,2\n")
    (tmp_path / "c.txt").write_text("t")
    found, _ = rows(tmp_path / "a.jsonl", tmp_path / "b.csv", tmp_path / "gone", tmp_path / "c.txt")
    assert [(row.number, row.source, row.note.id) for row in found] == [
        (1, "a.jsonl", "a1"),
        (2, "a.jsonl", "a2"),
        (3, "b.csv", "b.csv"),
        (4, "gone", "gone"),
        (5, "c.txt", "c.txt"),
    ]
    assert errors(found)["gone"] == "no such file or folder"
    assert errors(found)["b.csv"].startswith("b.csv:1: no column is named `text`")
    with pytest.raises(NoteError, match="no column is named `text`"):
        rows(tmp_path / "b.csv")


def test_the_kind_of_a_table_without_a_telling_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {"a.export": json_lines({"a": "t"}), "b.dump": b"id;text\nb;t\n", "c.dat": b"text\nand more text\n"}
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    assert ids(rows(tmp_path / "a.export", tmp_path / "b.dump")[0]) == ["a", "b"]
    with pytest.raises(UsageError, match="is none of a folder"):
        rows(tmp_path / "c.dat")
    assert ids(rows(tmp_path / "c.dat", options=NoteOptions(input_format="csv"))[0]) == ["c.dat:2"]
    for data, wanted in (
        (b"id,text\nx,t\n", ["x"]),
        (json_lines({"y": "t"}), ["y"]),
        (gzip.compress(json_lines({"z": "t"})), ["z"]),
        (HL7.format(id="h", text="Pain.").encode(), ["stdin"]),
    ):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data)))
        assert ids(rows("-")[0]) == wanted


def test_columns_and_metadata(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(
        "NOTE_ID,BODY,Provider,dept,Encounter,date,dx\n"
        "n1,Laxity.,Dr. A,Spine,e1,2026-04-30 10:15,M24.28\n"
        "n2,Laxity.,,,,30/04/2026,\n"
    )
    columns = {"id": "NOTE_ID", "text": "body", "department": "dept", "codes": "dx", "claim_codes": "dx"}
    found, _ = rows(path, options=NoteOptions(columns=columns))
    said = Metadata(provider="Dr. A", encounter="e1", date="2026-04-30", department="Spine")
    codes = ("M24.28",)
    assert found[0].note == Note(
        id="n1", text="Laxity.", codes=codes, claim_codes=codes, date_of_service="2026-04-30", metadata=said
    )
    assert found[1].note == Note(id="n2", text="Laxity.")
    with pytest.raises(NoteError, match=r"a\.csv:1: no column is named `txt`, as --columns says"):
        rows(path, options=NoteOptions(columns={"text": "txt"}))
    with pytest.raises(NoteError, match=r"no column is named `gone`"):
        rows(path, options=NoteOptions(columns={"text": "body", "id": "gone"}))
    (tmp_path / "b.jsonl").write_text(json.dumps({"BODY": "t", "who": {"a": 1}, "provider": 17, "department": True}))
    (found_row,), _ = rows(tmp_path / "b.jsonl", options=NoteOptions(columns={"text": "BODY", "encounter": "who"}))
    assert found_row.note == Note(id="b.jsonl:1", text="t", metadata=Metadata(provider="17"))


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("ending", ["tsv", "jsonl", "txt", "stdin"])
def test_a_table_may_be_utf_16(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str, encoding: str) -> None:
    """As Excel's "Unicode text" is. What is damaged in it costs its row alone."""
    texts = ["Laxit\u00e4t \U0001f9b4, L4\u2013L5", "half \ud83e of a pair", "Laxity. " + "x" * 70_000, "Pain."]
    if ending == "jsonl":
        text = "".join(json.dumps({"id": n, "text": each}, ensure_ascii=False) + "\r\n" for n, each in enumerate(texts))
    else:
        text = "id\ttext\r\n" + "".join(f'{n}\t"{each}"\r\n' for n, each in enumerate(texts))
    mark = "\ufeff" if encoding == "utf-16-be" else ""
    path = tmp_path / f"a.{ending}"
    path.write_bytes((mark + text).encode(encoding, "surrogatepass"))
    options = NoteOptions(input_format="csv") if ending == "txt" else NoteOptions()
    if ending == "stdin":
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(path.open("rb")))
    found, said = rows("-" if ending == "stdin" else path, options=options)
    assert [row.note.text for row in found if isinstance(row.note, Note)] == [texts[0], *texts[2:]]
    assert list(errors(found)) == (["a.jsonl:2"] if ending == "jsonl" else ["1"])
    assert said == [f"{'stdin' if ending == 'stdin' else path.name}: read as {encoding[:6].upper()}"]
    if ending == "tsv":
        path.write_bytes(path.read_bytes()[:-1])
        cut_off, _ = rows(path)
        assert [row.note for row in cut_off[:3]] == [row.note for row in found[:3]]
        assert errors(cut_off[3:]) == {
            "a.tsv": f"is not {encoding[:6].upper()} to its end, as it says it is; is it cut off?"
        }


# ── folders ─────────────────────────────────────────────────────────────────────────────────────


def test_the_tables_of_a_folder_are_read_each_for_itself(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id,text\n1,one\n,two\n")
    (tmp_path / "a.txt").write_text("t")
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.csv").write_bytes("text\tid\r\nthree\t\r\n".encode("utf-16"))
    (tmp_path / "in" / "b.jsonl").write_bytes(json_lines({"2": "four"}) + b'{"text": 5}\n')
    (tmp_path / "in" / "long.jsonl.gz").write_bytes(gzip.compress(json_lines({"3": "x" * 100_000})))
    (tmp_path / "in" / "patients.csv").write_text("id,name\n1,Doe\n")
    (tmp_path / "in" / "q.parquet").write_bytes(b"PAR1....")
    pq.write_table(pa.table({"text": ["five"]}), tmp_path / "in" / "t.parquet")
    pq.write_table(pa.table({"note_id": ["n"]}), tmp_path / "in" / "z.parquet")
    found, said = rows(tmp_path)
    assert [(row.source, row.note.id) for row in found] == [
        ("a.csv", "1"),
        ("a.csv", "a.csv:3"),
        ("a.txt", "a.txt"),
        ("in/a.csv", "in/a.csv:2"),
        ("in/b.jsonl", "2"),
        ("in/b.jsonl", "in/b.jsonl:2"),
        ("in/long.jsonl.gz", "3"),
        ("in/q.parquet", "in/q.parquet"),
        ("in/t.parquet", "in/t.parquet:1"),
    ]
    assert list(errors(found)) == ["in/b.jsonl:2", "in/q.parquet"]
    assert said == [
        "a.csv: read as UTF-16",
        "patients.csv: left out: a table without a column for the texts of notes",
        "z.parquet: left out: a table without a column for the texts of notes",
    ]
    found, said = rows(tmp_path, options=NoteOptions(columns={"text": "name"}))
    assert [row.note.id for row in found if isinstance(row.note, Note)] == ["a.txt", "1"]


def test_a_folder_leaves_out_tables_pipes_and_what_the_audit_writes(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("t")
    (tmp_path / "b.txt.gz").write_bytes(gzip.compress(b"t"))
    (tmp_path / "c.zip").write_bytes(zipped({"in/x.txt": b"t", "y.csv": b"id,title\n1,t\n"}))
    (tmp_path / "out.jsonl").write_bytes(json_lines({"z": "t"}))
    (tmp_path / "log.ndjson").write_text('{"event":"kickoff"}\n')
    (tmp_path / "d.txt").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "pipe.txt")
    found, said = rows(tmp_path, how=How(skip=frozenset({(tmp_path / "out.jsonl").resolve()})))
    assert ids(found) == ["a.txt", "b.txt.gz", "c.zip/in/x.txt", "d.txt"]
    assert errors(found) == {"d.txt": "cannot be read (no such file or directory)"}
    assert said == [
        "y.csv: left out: a table without a column for the texts of notes",
        "log.ndjson: left out: a table without a column for the texts of notes",
        "pipe.txt: left out: no regular file",
    ]
    assert size_of([str(tmp_path)]) is not None


def test_a_folder_in_it_that_cannot_be_read_costs_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in "abc":
        (tmp_path / name).mkdir()
        (tmp_path / name / "note.txt").write_text(f"{LAXITY} {name}", encoding="utf-8")
    real = os.scandir

    def scandir(path: Any) -> Any:
        if str(path) == str(tmp_path / "b"):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    found, _ = rows(tmp_path)
    assert sorted(ids(found)) == ["a/note.txt", "b", "c/note.txt"]
    assert errors(found) == {"b": "cannot be read (permission denied)"}
    assert size_of([str(tmp_path)]) == 2 * len(f"{LAXITY} a")
    with pytest.raises(NoteError, match="permission denied"):
        rows(tmp_path / "b")


@pytest.mark.parametrize(
    ("written", "date_format", "day"),
    [
        ("2026-04-30", "", "2026-04-30"),
        ("20260430", "", "2026-04-30"),
        ("04/30/2026", "%m/%d/%Y", "2026-04-30"),
        ("30.4.2026", "%d.%m.%Y", "2026-04-30"),
        ("2026-04-30", "%m/%d/%Y", "2026-04-30"),
        ("04/30/2026", "", ""),
        ("2026-13-45", "", ""),
        ("04/30/26", "%m/%d/%Y", ""),
    ],
)
@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_days_are_read_as_they_are_written_or_said_to_be_left_out(
    tmp_path: Path, ending: str, written: str, date_format: str, day: str
) -> None:
    path = tmp_path / f"t.{ending}"
    row = {"id": "1", "text": LAXITY, "date": written}
    if ending == "csv":
        path.write_text(f"id,text,date\n1,{LAXITY},{written}\n", encoding="utf-8")
    elif ending == "jsonl":
        path.write_text(json.dumps(row), encoding="utf-8")
    else:
        pq.write_table(pa.Table.from_pylist([row]), path)
    ((found,), said) = rows(path, options=NoteOptions(date_format=date_format))
    assert isinstance(found.note, Note)
    assert (found.note.metadata.date, found.note.date_of_service) == (day, day or None)
    left_out = "its `date` is not written as 2026-04-30 and was left out; --date-format says how it is written"
    assert [remark.partition(": ")[2] for remark in said] == ([] if day else [left_out])


def test_a_date_of_service_is_read_in_the_same_format(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(f"text,date_of_service\n{LAXITY},04/30/2026\n", encoding="utf-8")
    ((refused,), _) = rows(tmp_path / "t.csv")
    assert isinstance(refused.note, RowError)
    assert refused.note.message == "`date_of_service` is not a date written as 2026-04-30"
    ((found,), _) = rows(tmp_path / "t.csv", options=NoteOptions(date_format="%m/%d/%Y"))
    assert isinstance(found.note, Note)
    assert found.note.date_of_service == "2026-04-30"


def test_a_database_file_without_a_query_is_told_what_it_needs(tmp_path: Path) -> None:
    duckdb.connect(str(tmp_path / "n.duckdb")).close()
    with pytest.raises(NoteError, match=r"n\.duckdb: is a DuckDB file; --query says"):
        rows(tmp_path / "n.duckdb")
    (tmp_path / "note.txt").write_text(f"Patient DUCK, Donald. {LAXITY}", encoding="utf-8")
    ((found,), _) = rows(tmp_path / "note.txt")
    assert isinstance(found.note, Note)
    engine = sqlalchemy.create_engine(f"sqlite:///{tmp_path / 'n.db'}")
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text("CREATE TABLE notes (text TEXT)"))
    with pytest.raises(NoteError, match=r"n\.db: is an SQLite database; give its URL"):
        rows(tmp_path / "n.db")


def test_a_folder_of_100_000_files(tmp_path: Path) -> None:
    for hundred in range(100):
        folder = tmp_path / f"{hundred:02}"
        folder.mkdir()
        first = folder / "000.txt"
        first.write_text("Laxity.")
        for number in range(1, 1000):
            os.link(first, folder / f"{number:03}.txt")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    count, last = 0, ""
    for note in read_notes(tmp_path):
        count += 1
        assert note.id > last
        last = note.id
    assert count == 100_000
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000, "kilobytes"


def test_encodings_are_detected_and_said(tmp_path: Path) -> None:
    text = "Laxity \u2013 severe."
    files = {"a": text.encode(), "b": text.encode("cp1252"), "c": text.encode("utf-16"), "d": b"\x81\x8d severe"}
    for name, data in files.items():
        (tmp_path / f"{name}.txt").write_bytes(data)
    found, said = rows(tmp_path)
    assert [row.note.text for row in found if isinstance(row.note, Note)] == [text] * 3
    assert said == ["b.txt: read as Windows-1252", "c.txt: read as UTF-16"]
    assert errors(found)["d.txt"].startswith("is not UTF-8: byte")


def test_a_file_that_takes_too_long_to_read_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    monkeypatch.setattr("notegap.notes.inputs.read_data", lambda *_args, **_more: iter(lambda: time.sleep(9), 1))
    (tmp_path / "a.txt").write_text("t")
    found, _ = rows(tmp_path, how=How(timeout=0.1))
    assert errors(found) == {"a.txt": "took longer than 0.1 seconds to read and was stopped"}


# ── archives ────────────────────────────────────────────────────────────────────────────────────


def test_gzip_and_zip_hold_whatever_files_do(tmp_path: Path) -> None:
    table = json_lines({"a": "t", "b": "t"})
    files = {"notes/x.txt": b"t", "t.csv.gz": gzip.compress(b"id,text\nc,t\n"), "u.jsonl": table, "v.bin": b"\x00\x01"}
    files |= {"__MACOSX/x.txt": b"t", ".hidden": b"t", "in.zip": zipped({"deep.txt": b"t"})}
    (tmp_path / "e.zip").write_bytes(zipped(files))
    (tmp_path / "e.jsonl.gz").write_bytes(gzip.compress(table) + gzip.compress(json_lines({"c": "t"})))
    found, said = rows(tmp_path / "e.zip")
    assert ids(found) == ["in.zip/deep.txt", "notes/x.txt", "c", "a", "b"]
    assert [row.source for row in found[:3]] == ["e.zip/in.zip/deep.txt", "e.zip/notes/x.txt", "e.zip/t.csv.gz"]
    assert said == ["v.bin: left out: of no format that is read; plain text has to be named .txt"]
    assert ids(rows(tmp_path / "e.jsonl.gz")[0]) == ["a", "b", "c"]


def test_names_an_archive_makes_up_are_only_names(tmp_path: Path) -> None:
    path = tmp_path / "in" / "e.zip"
    path.parent.mkdir()
    path.write_bytes(zipped({"../../out.txt": b"t", "/etc/notes.txt": b"t", "a\nb\x1b[31m.txt": b"t"}))
    found, _ = rows(path)
    assert ids(found) == ["../../out.txt", "/etc/notes.txt", "a\ufffdb\ufffd[31m.txt"]
    assert sorted(each.name for each in tmp_path.rglob("*")) == ["e.zip", "in"]


def test_a_truncated_gzip_gives_what_it_has_and_is_told(tmp_path: Path) -> None:
    whole = json_lines({f"n{n}": f"{n} " + "laxity " * n for n in range(2000)})
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(gzip.compress(whole)[:-40])
    found, _ = rows(path)
    assert len(found) > 1000
    assert errors(found) == {"a.jsonl.gz": "is a compressed file that is cut off or damaged"}
    (tmp_path / "b.gz").write_bytes(gzip.compress(b"t")[:9])
    with pytest.raises(NoteError, match=r"b\.gz: is a compressed file that is cut off or damaged"):
        rows(tmp_path / "b.gz")
    (tmp_path / "b.txt.gz").write_bytes(gzip.compress(b"text " * 1000)[:-20])
    assert errors(rows(tmp_path, how=How())[0])["b.txt.gz"] == "is a compressed file that is cut off or damaged"


def test_damaged_locked_and_odd_zips(tmp_path: Path) -> None:
    good = zipped({"a.txt": b"first " * 100, "b.txt": b"second " * 100}, zipfile.ZIP_STORED)
    (tmp_path / "crc.zip").write_bytes(good.replace(b"first first", b"fxrst first", 1))
    found, _ = rows(tmp_path / "crc.zip")
    assert errors(found) == {"a.txt": "is a compressed file that is cut off or damaged"}
    assert ids(found) == ["a.txt", "b.txt"]
    for name, data in (("cut.zip", good[:-30]), ("empty.zip", b"PK\x03\x04")):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(NoteError, match="is a compressed file that is cut off or damaged"):
            rows(tmp_path / name)
    locked = bytearray(good)
    for at in (locked.find(b"PK\x03\x04") + 6, locked.find(b"PK\x01\x02") + 8):
        locked[at] |= 1
    (tmp_path / "locked.zip").write_bytes(locked)
    assert errors(rows(tmp_path / "locked.zip")[0]) == {"a.txt": "is locked with a password"}
    nested = b"t"
    for _ in range(6):
        nested = zipped({"z.zip" if nested != b"t" else "t.txt": nested})
    (tmp_path / "deep.zip").write_bytes(nested)
    assert list(errors(rows(tmp_path / "deep.zip")[0]).values()) == ["holds archives inside archives, more than 3 deep"]


def test_whatever_is_damaged_is_told_and_never_breaks(tmp_path: Path) -> None:
    table = json_lines({f"x{n}": f"t {n} " * 9 for n in range(99)})
    seeds = {"a.zip": zipped({"a.txt": b"first " * 99, "b.jsonl": table, "c.zip": zipped({"d.txt": b"t"})})}
    seeds["a.jsonl.gz"] = gzip.compress(table)
    pq.write_table(pa.table({"text": [f"note {n} " * 9 for n in range(300)]}), tmp_path / "seed")
    seeds["a.parquet"] = (tmp_path / "seed").read_bytes()
    drawn = random.Random(4)
    for _ in range(300):
        name = drawn.choice(sorted(seeds))
        data = bytearray(seeds[name])
        for _ in range(drawn.choice((1, 2, 5, 20))):
            data[drawn.randrange(len(data))] = drawn.randrange(256)
        (tmp_path / name).write_bytes(data)
        with suppress(NoteError, UsageError):
            rows(tmp_path / name)


@pytest.mark.parametrize("kind", ["gz", "zip", "nested"])
def test_bombs_are_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setattr(packed, "_FREE", 4 * 1024 * 1024)
    zeros = gzip.compress(b"{" + b" " * 64 * 1024 * 1024)
    data = {
        "gz": zeros,
        "zip": zipped({"a.jsonl": b"{" + b" " * 64 * 1024 * 1024, "b.txt": b"never reached"}),
        "nested": zipped({f"{n}.jsonl.gz": zeros for n in range(9)}),
    }[kind]
    path = tmp_path / f"bomb.jsonl.{kind}"
    path.write_bytes(data)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if kind == "gz":
        found, _ = rows(path, tmp_path / path)
    else:
        found, _ = rows(path)
    messages = list(errors(found).values())
    assert "unpacks to more than 200 times its size; it is taken for a zip bomb" in messages
    assert "never reached" not in repr(found)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000, "kilobytes"


def test_copies_of_one_note_are_no_bomb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed, "_FREE", 1024 * 1024)
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(json_lines({f"n{n}": LAXITY * 20 for n in range(5000)}), 9))
    assert len(rows(tmp_path / "a.jsonl.gz")[0]) == 5000


# ── FHIR bulk exports ───────────────────────────────────────────────────────────────────────────


def ndjson(resources: Iterable[Mapping[str, Any]]) -> bytes:
    return b"".join(json.dumps(each).encode() + b"\n" for each in resources)


def reference(name: str, encounter: str, **attachment: str) -> dict[str, Any]:
    return {
        "resourceType": "DocumentReference",
        "id": name,
        "status": "current",
        "author": [{"reference": "Practitioner/p1"}],
        "content": [{"attachment": {"contentType": "text/plain", **attachment}}],
        "context": {"encounter": [{"reference": f"Encounter/{encounter}"}]},
    }


def condition(name: str, encounter: str, code: str, **more: Any) -> dict[str, Any]:
    coding = [{"system": "http://snomed.info/sct", "code": "1"}, {"system": "http://hl7.org/fhir/sid/icd-10-cm"}]
    coding[1]["code"] = code
    return {
        "resourceType": "Condition",
        "id": name,
        "encounter": {"reference": f"Encounter/{encounter}"},
        "code": {"coding": coding},
        **more,
    }


@pytest.fixture(params=["plain", "gz"])
def export(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    inline = base64.b64encode(LAXITY.encode()).decode()
    files: dict[str, Sequence[Mapping[str, Any]]] = {
        "DocumentReference.000": [
            reference("d1", "e1", data=inline),
            reference("d2", "e2", url="https://fhir.example/Binary/b1"),
            reference("d3", "e9", url="Binary/gone"),
        ],
        "Practitioner.000": [
            {"resourceType": "Practitioner", "id": "p1", "name": [{"given": ["Ada"], "family": "North"}]}
        ],
        "Encounter.000": [
            {
                "resourceType": "Encounter",
                "id": "e1",
                "period": {"start": "2026-04-30T09:00:00+02:00"},
                "location": [{"location": {"display": "Spine clinic"}}],
                "diagnosis": [{"condition": {"reference": "Condition/c2"}, "rank": 1}],
            },
            {"resourceType": "Encounter", "id": "e2", "serviceProvider": {"display": "North hospital"}},
        ],
        "Condition.000": [
            condition("c1", "e1", "I10"),
            condition("c2", "e1", "m2428"),
            condition("c3", "e1", "M54.50", verificationStatus={"coding": [{"code": "refuted"}]}),
            condition("c4", "e1", "M48.061", category=[{"coding": [{"code": "problem-list-item"}]}]),
        ],
        "Binary.000": [{"resourceType": "Binary", "id": "b1", "data": inline}],
        "Patient.000": [{"resourceType": "Patient", "id": "x"}],
    }
    for name, resources in files.items():
        data = ndjson(resources)
        if request.param == "gz":
            (tmp_path / f"{name}.ndjson.gz").write_bytes(gzip.compress(data))
        else:
            (tmp_path / f"{name}.ndjson").write_bytes(data)
    return tmp_path


def test_a_bulk_export_is_joined_with_what_stands_beside_it(export: Path) -> None:
    how = How(covers=lambda code: code.startswith("M"))
    found, said = rows(export, how=how)
    first, second, third = (row.note for row in found)
    assert isinstance(first, Note)
    assert (first.id, first.text, first.codes, first.claim_codes) == ("d1", LAXITY, ("M24.28",), ("M24.28", "I10"))
    assert first.metadata.provider == "Ada North"
    assert (first.metadata.department, first.date_of_service) == ("Spine clinic", "2026-04-30")
    assert isinstance(second, Note)
    assert (second.text, second.claim_codes, second.metadata.department) == (LAXITY, None, "North hospital")
    assert isinstance(third, RowError)
    assert third.message == "its text is not inline but at an address, which is not fetched"
    assert [remark.partition(": ")[2] for remark in said] == ["left out: holds no DocumentReference"]
    (documents,) = export.glob("DocumentReference*")
    named, _ = rows(documents, how=how)
    assert [row.note for row in named[:2]] == [first, second]


@pytest.mark.skipif(not (INTERFACE / "fhir").exists(), reason="../shared/interface is not there")
@pytest.mark.parametrize(
    ("kind", "setting"),
    [("IMP", Setting.INPATIENT), ("ACUTE", Setting.INPATIENT), ("AMB", Setting.OUTPATIENT), ("", Setting.OUTPATIENT)],
)
def test_an_inpatients_encounter_makes_the_note_an_inpatients(tmp_path: Path, kind: str, setting: Setting) -> None:
    told: dict[str, Any] = {"class": {"code": kind}} if kind else {}
    data = base64.b64encode(LAXITY.encode()).decode()
    (tmp_path / "DocumentReference.000.ndjson").write_bytes(
        ndjson([reference("d1", "e1", contentType="text/plain", data=data)])
    )
    (tmp_path / "Encounter.000.ndjson").write_bytes(ndjson([{"resourceType": "Encounter", "id": "e1", **told}]))
    (found,), _ = rows(tmp_path)
    assert isinstance(found.note, Note)
    assert found.note.setting is setting


def test_an_author_who_stands_in_the_document_is_named(tmp_path: Path) -> None:
    data = base64.b64encode(LAXITY.encode()).decode()
    document = reference("d1", "e1", contentType="text/plain", data=data)
    document["author"] = [{"reference": "#pr9"}]
    document["contained"] = [
        {"resourceType": "Practitioner", "id": "pr9", "name": [{"prefix": ["Dr."], "given": ["Ada"], "family": "Roe"}]}
    ]
    (tmp_path / "d.json").write_text(json.dumps(document), encoding="utf-8")
    (found,), _ = rows(tmp_path / "d.json")
    assert isinstance(found.note, Note)
    assert found.note.metadata.provider == "Dr. Ada Roe"


def test_the_published_bulk_export() -> None:
    folder = INTERFACE / "fhir" / "bulk_10_patients"
    found, said = rows(folder)
    documents = (folder / "DocumentReference.000.ndjson").read_text().splitlines()
    assert ids(found) == [json.loads(line)["id"] for line in documents]
    notes = [row.note for row in found if isinstance(row.note, Note)]
    assert len(notes) == len(documents)
    assert all(note.metadata.provider and note.metadata.encounter and note.date_of_service for note in notes)
    assert {remark.partition(":")[0] for remark in said} == {"Patient.000.ndjson", "log.ndjson"}


# ── files that are longer than memory may be ────────────────────────────────────────────────────


def test_many_messages_in_one_long_file(tmp_path: Path) -> None:
    path = tmp_path / "a.hl7"
    messages = [HL7.format(id=f"m{n}", text=f"Pain {n}. " * 20) for n in range(900)]
    messages[7] = "MSH|^~\\&|A|B|C|D|20260430||ADT^A01|x|P|2.5\rEVN|A01\r"
    path.write_text("".join(messages), newline="")
    long = NoteOptions(max_bytes=2048)
    assert path.stat().st_size > 2048 * 64
    streamed, _ = rows(path, options=long)
    whole, _ = rows(path, options=NoteOptions(max_bytes=1024 * 1024))
    assert [row.note for row in streamed] == [row.note for row in whole]
    assert len(streamed) == 900


def test_a_long_export_with_another_name(tmp_path: Path) -> None:
    inline = base64.b64encode(LAXITY.encode()).decode()
    path = tmp_path / "export.json"
    path.write_bytes(ndjson(reference(f"d{n}", "e", data=inline) for n in range(500)))
    assert path.stat().st_size > 1024 * 64
    streamed, _ = rows(path, options=NoteOptions(max_bytes=1024))
    assert ids(streamed) == [f"d{n}" for n in range(500)]


# ── Parquet, databases ──────────────────────────────────────────────────────────────────────────

VALUES: Mapping[str, Sequence[Any]] = {
    "Note_ID": [1, 2, 3],
    "text": [LAXITY, None, LAXITY],
    "codes": [["M24.28"], None, ["M24.28", "M43.26"]],
    "provider": ["Dr. A", "Dr. B", None],
}


def test_parquet(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table(VALUES), path, row_group_size=2)
    (tmp_path / "b.parquet.gz").write_bytes(gzip.compress(path.read_bytes()))
    mapped = NoteOptions(columns={"id": "note_id"})
    for name in ("a.parquet", "b.parquet.gz"):
        found, _ = rows(tmp_path / name, options=mapped)
        assert [row.note for row in found] == [
            Note(id="1", text=LAXITY, codes=("M24.28",), metadata=Metadata(provider="Dr. A")),
            RowError("2", f"{name}:2", "has no `text`"),
            Note(id="3", text=LAXITY, codes=("M24.28", "M43.26")),
        ]
    with pytest.raises(NoteError, match=r"a\.parquet: no column is named `body`"):
        rows(path, options=NoteOptions(columns={"text": "body"}))
    damaged = bytearray(path.read_bytes())
    (tmp_path / "c.parquet").write_bytes(damaged[:-6])
    with pytest.raises(NoteError, match=r"c\.parquet: is a Parquet file that is cut off or damaged"):
        rows(tmp_path / "c.parquet")


def test_a_query_over_duckdb(tmp_path: Path) -> None:
    path = tmp_path / "warehouse.duckdb"
    with duckdb.connect(path) as database:
        database.execute("CREATE TABLE notes (id UUID, text VARCHAR, date TIMESTAMP, codes VARCHAR[])")
        name = "0a5fc0a0-0000-4000-8000-000000000001"
        database.execute(f"INSERT INTO notes VALUES ('{name}', '{LAXITY}', '2026-04-30 10:00', ['M24.28'])")
    (row,), _ = rows(path, how=How(query="SELECT * FROM notes"))
    said = Metadata(date="2026-04-30")
    assert row.source == "warehouse.duckdb"
    assert row.note == Note(id=name, text=LAXITY, codes=("M24.28",), date_of_service="2026-04-30", metadata=said)
    for query, message in (
        ("SELECT * FROM note", "Catalog Error: Table with name note does not exist!"),
        ("SELEC", "Parser Error: syntax error"),
        ("SELECT CAST(text AS INTEGER) AS text FROM notes", r"the query failed \(ConversionException\)$"),
        ("SELECT id FROM notes", "the query:? no column is named `text`"),
        ("DELETE FROM notes", r"the query failed|gives no rows"),
    ):
        with pytest.raises(NoteError, match=message) as caught:
            rows(path, how=How(query=query))
        assert LAXITY not in str(caught.value)
    (tmp_path / "in.csv").write_text(f"id,text\nq,{LAXITY}\n")
    query = f"SELECT id, text AS body FROM '{tmp_path}/in.csv'"
    found, _ = rows(":memory:", options=NoteOptions(columns={"text": "body"}), how=How(query=query))
    assert [row.note for row in found] == [Note(id="q", text=LAXITY)]
    with pytest.raises(NoteError, match="no such database file"):
        rows(tmp_path / "gone.duckdb", how=How(query="SELECT 1"))


def test_a_query_over_a_database_url(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/notes.db"
    engine = sqlalchemy.create_engine(url)
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text("CREATE TABLE notes (id INTEGER, text TEXT)"))
        connection.execute(sqlalchemy.text(f"INSERT INTO notes VALUES (7, '{LAXITY}')"))
    engine.dispose()
    (row,), _ = rows(url, how=How(query="SELECT id, text FROM notes"))
    assert (row.source, row.note) == ("database", Note(id="7", text=LAXITY))
    with pytest.raises(NoteError, match=r"^database: the query failed \(OperationalError\)$"):
        rows(url, how=How(query="SELECT * FROM gone"))
    with pytest.raises(NoteError) as caught:
        rows("nosuch://user:hunter2@host/db", how=How(query="SELECT 1"))
    assert "hunter2" not in str(caught.value)
    with pytest.raises(UsageError, match="needs --query") as refused:
        rows("sqlite://user:hunter2@host/db")
    assert "hunter2" not in str(refused.value)


def test_a_query_over_postgresql_by_its_plain_url(postgres: str) -> None:
    with fresh_database(postgres) as url:
        plain = "postgresql" + url[url.index(":") :]
        query = "SELECT 'n1' AS id, 'Laxity of ligament.' AS text, DATE '2026-04-30' AS date"
        (found,), _ = rows(plain, how=How(query=query))
    assert isinstance(found.note, Note)
    assert (found.note.id, found.note.metadata.date) == ("n1", "2026-04-30")


def test_a_long_table_does_not_fill_memory(tmp_path: Path) -> None:
    code = """
import resource, sys
from notegap.notes.inputs import How, read_rows
from notegap.notes.text import NoteOptions
rows = read_rows([sys.argv[1]], NoteOptions(), How(query=sys.argv[2]))
next(rows)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
count = sum(1 for _ in rows)
print(count, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    path = tmp_path / "a.parquet"
    # One group of rows, as some exports have: 100 MB of text.
    texts = [f"{number} " + os.urandom(2500).hex() for number in range(20_000)]
    pq.write_table(pa.table({"text": texts}), path, row_group_size=len(texts))
    for arguments in ((str(path), ""), (":memory:", f"SELECT * FROM '{path}'")):
        done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, check=True, text=True)
        count, grown = map(int, done.stdout.split())
        assert count == len(texts) - 1
        assert grown < 50_000, "kilobytes"
