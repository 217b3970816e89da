"""Suggestions of an underlying disease: what is offered, what never is, and that nothing else comes of them."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from handmade import CHECK, TEXT, report
from notegap.analyzer import Analyzer
from notegap.errors import DataError
from notegap.extract.suggest import THRESHOLD, ExactIndex, Suggester
from notegap.icd10cm import load
from notegap.knowledge import diseases as disease_list
from notegap.knowledge.diseases import LIST, SELECTION, build, diseases
from notegap.knowledge.load import shipped_root
from notegap.model import Note, Report, Status, Suggestion
from notegap.report import FORMATS, Page

CANARY = "Quetzalcoatlus"
SUGGESTION = Suggestion(
    concept="disease",
    start=TEXT.index("Chronic"),
    end=TEXT.index("Chronic") + 7,
    text="Chronic",
    code="D47.Z2",
    title="Castleman disease",
    alias="Castleman disease",
    score=0.9,
    findings=("M24.28/ligament",),
)


def read(analyzer: Analyzer, text: str, *codes: str) -> Report:
    return analyzer.analyze(Note(id="n", text=text, codes=codes or ("M49.88",)))


def suggested(analyzer: Analyzer, text: str, *codes: str) -> list[tuple[str, str]]:
    return [(s.code, s.text) for s in read(analyzer, text, *codes).suggestions]


# ── what is offered ─────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("text", "offered"),
    [
        ("Assessment: sacral spondylopathy due to relapsing polychondritis.", [("M94.1", "relapsing polychondritis")]),
        ("PMH: Castleman's disease, stable on treatment.", [("D47.Z2", "Castleman's disease")]),
        ("Problem list:\n1. Hypertension\n2. Behcet's disease since 2011\n", [("M35.2", "Behcet's disease")]),
        ("She has a history of polymyositis, biopsy proven.", [("M33.2", "polymyositis")]),
        ("Clinical information: cystinosis, treated. MRI of the sacrum.", [("E72.04", "cystinosis")]),
        ("METABOLIC DIAGNOSES\n[x] Cystinosis\n[ ] Tularemia\n", [("E72.04", "Cystinosis")]),
        ("Sacral pain in a man with relapsing polychondrits.", [("M94.1", "relapsing polychondrits")]),
    ],
)
def test_what_is_offered(analyzer: Analyzer, text: str, offered: list[tuple[str, str]]) -> None:
    assert suggested(analyzer, text) == offered


@pytest.mark.parametrize(
    "text",
    [
        "Assessment: lumbar spinal stenosis with neurogenic claudication.",
        "Assessment: lumbar spinal stenosis without neurogenic claudication.",
        "Assessment: spondylosis without myelopathy or radiculopathy.",
        "Assessment: L4.",
        "Assessment: L4-5, 2019, 12/10, 3.",
        "Assessment: stable. Patient stable. Vital signs stable.",
        "Assessment: schwannoma of the sacrum.",
        "Assessment: hypothyroidism.",
        "Positioned on the Wilson frame.",
        "Assessment: renal failure.",
    ],
)
def test_what_only_looks_like_one(analyzer: Analyzer, text: str) -> None:
    assert suggested(analyzer, text) == []


@pytest.mark.parametrize(
    "text",
    [
        "Mother had cystinosis and his sister polymyositis.",
        "Family history: relapsing polychondritis.",
        "No tularemia. Denies scurvy.",
        "Assessment: possible polymyositis. Rule out Behcet's disease.",
        "Differential diagnosis: polymyositis, cystinosis.",
        "Return if polymyositis flares.",
        "Allergies: polymyositis with statins.",
    ],
)
def test_what_is_not_the_patients(analyzer: Analyzer, text: str) -> None:
    assert suggested(analyzer, text) == []


def test_each_disease_comes_once_the_likest_first(analyzer: Analyzer) -> None:
    text = "HPI: known Castlemann disease.\nPMH: cystinosis, polymyositis.\nAssessment: cystinosis."
    assert suggested(analyzer, text) == [
        ("E72.04", "cystinosis"),
        ("M33.2", "polymyositis"),
        ("D47.Z2", "Castlemann disease"),
    ]


def test_a_suggestion_is_the_notes_own_words_whatever_its_line_ends(analyzer: Analyzer) -> None:
    text = "PMH:\r\n\u2022\u00a0Castleman\u2019s disease\r\nAssessment:\r\nspondylopathy of the sacrum \U0001f9b4\r\n"
    (found,) = read(analyzer, text).suggestions
    assert text[found.start : found.end] == found.text == "Castleman\u2019s disease"
    assert (found.concept, found.title, found.alias) == ("disease", "Castleman disease", "Castleman disease")
    assert found.score == 1.0
    assert found.findings == ("M49.88/underlying-disease",)


# ── when ────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("known", "status"),
    [
        ("Sacral spondylopathy due to brucellosis.", Status.MET),
        ("Possible brucellosis.", Status.UNCERTAIN),
        ("Sacral spondylopathy due to mastocytosis.", Status.MET),
    ],
)
def test_none_in_place_of_a_disease_that_was_read(analyzer: Analyzer, known: str, status: Status) -> None:
    made = read(analyzer, f"PMH: cystinosis.\nAssessment: {known}")
    (finding,) = [f for f in made.checks[0].findings if f.item == "underlying-disease"]
    assert (finding.status, made.suggestions) == (status, ())


@pytest.mark.parametrize("other", ["Mother has Paget disease.", "No tuberculosis.", "She has a systemic illness."])
def test_a_disease_of_nobody_here_is_no_hindrance(analyzer: Analyzer, other: str) -> None:
    assert suggested(analyzer, f"{other}\nPMH: cystinosis.\nAssessment: sacral spondylopathy.") == [
        ("E72.04", "cystinosis")
    ]


def test_only_where_an_open_item_asks_for_the_disease(analyzer: Analyzer) -> None:
    text = "PMH: cystinosis.\nAssessment: ligamentous laxity of the lumbar spine."
    assert suggested(analyzer, text, "M24.28", "M53.2X6", "M54.50") == []
    (found,) = read(analyzer, text, "M49.86", "M24.28", "M49.88").suggestions
    assert found.findings == ("M49.86/underlying-disease", "M49.88/underlying-disease")


def test_nothing_else_comes_of_it(analyzer: Analyzer) -> None:
    written = "PMH: {}.\nImaging: MRI of the sacrum shows marrow edema of S1.\nAssessment: spondylitis of the sacrum."
    with_it = read(analyzer, written.format("cystinosis"))
    without = read(analyzer, written.format("abcdefghij"))
    assert (len(with_it.suggestions), len(without.suggestions)) == (1, 0)
    assert with_it.mentions == without.mentions
    assert with_it.checks == without.checks
    assert with_it.has_gaps == without.has_gaps


# ── the index ───────────────────────────────────────────────────────────────────────────────────


def test_the_index_is_exact_and_leaves_out_what_shares_nothing() -> None:
    index = ExactIndex(csr_matrix(np.array([[1, 0, 0], [0.6, 0.8, 0], [0, 0, 1], [1, 0, 0]], dtype=np.float32)))
    near = index.knnQueryBatch(csr_matrix(np.array([[1, 0, 0], [0, 0, 1]], dtype=np.float32)), 10)
    assert [(ids.tolist(), np.round(far * 10).tolist()) for ids, far in near] == [([0, 3, 1], [0, 0, 4]), ([2], [0])]
    (least,) = index.knnQueryBatch(csr_matrix(np.array([[1, 0, 0]], dtype=np.float32)), 1)
    assert least[0].tolist() == [0]


def test_candidates_come_by_score_then_code() -> None:
    suggester = Suggester()
    assert suggester.candidates([]) == []
    nothing, exact, shared, number = suggester.candidates(["zzzzz", "Gaucher's disease", "syphilis", "trisomy 21"])
    assert nothing == []
    assert exact == [(1.0, "E75.22", "Gaucher disease")]
    for scored in (shared, number):
        assert scored == sorted(scored, key=lambda c: (-c[0], c[1], c[2]))
    assert all("21" in name for _, _, name in number)


@pytest.mark.parametrize("name", ["hyperthyroidism", "Hypoparathyroidism", "hypercalcemia", "Hypocalcemia"])
def test_opposites_are_not_alike(name: str) -> None:
    (scored,) = Suggester().candidates([name])
    assert {found.lower()[:4] for score, _, found in scored if score >= THRESHOLD} == {name.lower()[:4]}


# ── the list ────────────────────────────────────────────────────────────────────────────────────


def test_the_shipped_list_is_what_the_tabular_gives() -> None:
    folder = shipped_root("models")
    built = build(folder / SELECTION, load())
    assert built == build(folder / SELECTION, load())
    assert gzip.decompress(built) == gzip.decompress((folder / LIST).read_bytes())
    assert len(built) < 100_000


def test_names_stand_for_themselves() -> None:
    codes = load()
    assert len(diseases()) > 1000
    for disease in diseases():
        assert disease.title == codes.title(disease.code)
        assert not codes.is_manifestation(disease.code)
        assert disease.names == tuple(sorted(set(disease.names)))
        for name in disease.names:
            assert not {"with", "without", "due", "other", "unspecified", "right", "left"} & set(name.lower().split())


def test_a_damaged_or_missing_list_is_said_to_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disease_list, "shipped_root", lambda _name: tmp_path)
    for content, said in ((None, "missing"), (b"no gzip", "damaged"), (gzip.compress(b"\xff"), "damaged")):
        if content is not None:
            (tmp_path / LIST).write_bytes(content)
        with pytest.raises(DataError, match=said):
            diseases.__wrapped__()


# ── the report ──────────────────────────────────────────────────────────────────────────────────


def test_json_has_them_beside_the_checks() -> None:
    assert json.loads(FORMATS["json"](report(CHECK), Page()))["suggestions"] == []
    made = replace(report(CHECK), suggestions=(SUGGESTION,))
    for form in ("json", "jsonl"):
        assert json.loads(FORMATS[form](made, Page()))["suggestions"] == [
            {
                "concept": "disease",
                "start": SUGGESTION.start,
                "end": SUGGESTION.end,
                "text": "Chronic",
                "code": "D47.Z2",
                "title": "Castleman disease",
                "alias": "Castleman disease",
                "score": 0.9,
                "findings": ["M24.28/ligament"],
            }
        ]


def test_text_has_a_line_under_the_open_item_and_no_question() -> None:
    made = replace(report(CHECK), suggestions=(SUGGESTION,))
    lines = FORMATS["text"](made, Page(width=200)).splitlines()
    like = "Castleman disease (D47.Z2, 0.90)"
    said = f"    ? The note says 'Chronic' at 2:1, which reads like {like}; a person has to judge."
    place = lines.index(said)
    heads = [line for line in lines[:place] if "[M24.28/" in line]
    assert heads[-1].startswith("vague[M24.28/ligament]")
    assert [line for line in lines if line != said] == FORMATS["text"](report(CHECK), Page(width=200)).splitlines()


def test_its_words_stay_out_of_reprs() -> None:
    assert CANARY not in repr(replace(SUGGESTION, text=CANARY))


# ── in a process of its own ─────────────────────────────────────────────────────────────────────

HEAVY = ("nmslib", "scispacy.candidate_generation", "sklearn")
RUN = """
import sys
from notegap import cli
code = cli.main(sys.argv[1:])
print([name for name in {heavy} if name in sys.modules], code, file=sys.stderr)
"""


def run(*arguments: str, seed: str = "0") -> tuple[str, str]:
    """What a cold run prints, and which heavy modules it loaded with its exit code."""
    done = subprocess.run(
        [sys.executable, "-c", RUN.format(heavy=HEAVY), *arguments],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONHASHSEED": seed},
    )
    return done.stdout, done.stderr


def test_nothing_heavy_is_loaded_where_no_suggestion_is_wanted(tmp_path: Path) -> None:
    note = tmp_path / "note.txt"
    note.write_text("PMH: cystinosis.\nAssessment: ligamentous laxity of the lumbar spine.")
    assert run("check", str(note), "--code", "M24.28")[1] == "[] 1\n"
    assert run("explain", "M49.88")[1] == "[] 0\n"


def test_a_cold_run_logs_nothing_and_is_the_same_for_every_hash_seed(tmp_path: Path) -> None:
    note = tmp_path / "note.txt"
    note.write_text(f"PMH: {CANARY} disease, cystinosis, syphilid, polymyositis.\nAssessment: sacral spondylopathy.")
    first = run("check", str(note), "--code", "M49.88", "--format", "json")
    assert [s["code"] for s in json.loads(first[0])["suggestions"]][:1] == ["E72.04"]
    assert first[1] == f"{list(HEAVY)} 1\n"
    assert run("check", str(note), "--code", "M49.88", "--format", "json", seed="7") == first
