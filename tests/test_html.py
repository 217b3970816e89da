"""The HTML report without a browser: one file, nothing from elsewhere, and every word of a note as text."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import replace
from html import unescape
from itertools import pairwise

import pytest

from handmade import CHECK, COMPLETE, INVALID, MENTION, NOTE, RELEASE, TEXT, report
from notegap import cli
from notegap.model import Assertion, Evidence, Mention, Note, Pointer, Report, Suggestion
from notegap.report import FORMATS, Page
from notegap.report.html import live_report
from notegap.report.html.marks import SIGNS, STANDS, describe, facts_of, marks_of


def html(made: Report) -> str:
    return FORMATS["html"](made, Page(source="<laxity>.txt"))


def lines_shown(made: str) -> list[str]:
    layer = made.partition("data-layer>")[2].partition('<p class="asked"')[0]
    return [
        unescape(re.sub(r"<[^>]+>", "", line)) for line in re.findall(r'<div class="line">(.*?)</div>', layer, re.S)
    ]


def test_it_is_one_file_that_may_run_only_its_own_script_and_style() -> None:
    made = html(report(CHECK))
    policy = made.partition('Content-Security-Policy" content="')[2].partition('">')[0]
    for kind, tag in (("script-src", r'<script type="module">(.*?)</script>'), ("style-src", r"<style>(.*?)</style>")):
        (inside,) = re.findall(tag, made, re.S)
        digest = base64.b64encode(hashlib.sha256(inside.encode()).digest()).decode()
        assert f"{kind} 'sha256-{digest}'" in unescape(policy)
    assert unescape(policy).startswith("default-src 'none';")
    assert re.findall(r"<(?:link|img|iframe|object|base|form)\b|\bsrc=|url\(|@import|https?://", made) == []


def test_every_word_of_a_note_is_text() -> None:
    note = replace(NOTE, text="<script>alert(1)</script> & \"'><b>\n</div></style>")
    made = html(Report(note=note, code_set=RELEASE, mentions=(), checks=()))
    assert lines_shown(made) == note.text.split("\n")
    assert "<script>alert" not in made
    assert "&lt;laxity&gt;.txt" in made


def test_lines_are_shown_as_they_are_but_for_carriage_returns() -> None:
    assert lines_shown(html(report(CHECK))) == TEXT.replace("\r", "").split("\n")


def test_gaps_come_first_then_alerts_then_what_is_met() -> None:
    keys = re.findall(r'<li class="item[^>]* data-key="([^"]+)"', html(report(CHECK)))
    order = ["ligament", "mechanism", "basis", "stenosis", "disorder", "region"]
    assert keys == [f"M24.28/{item}" for item in order]


@pytest.mark.parametrize(
    ("checks", "said"),
    [
        ((CHECK,), "M24.28: Incomplete: 3 gaps, 1 alert, 2 of 5 requirements met."),
        ((COMPLETE,), "M24.28: Complete: no gaps, no alerts, 1 of 1 requirement met."),
        ((INVALID,), "M43.29: Not checked, no checklist covers this code; 1 alert."),
        ((), "No code to check."),
    ],
)
def test_how_complete_in_one_line(checks: tuple[object, ...], said: str) -> None:
    assert live_report(report(*checks), comparing=False).summary == said  # type: ignore[arg-type]


def mention(text: str, assertion: Assertion, *, start: int = 0, concept: str = "finding") -> Mention:
    end = start + len(text)
    return Mention(concept=concept, value=text, assertion=assertion, start=start, end=end, text=text)


def made_of(text: str, *mentions: Mention, points_to: tuple[Pointer, ...] = ()) -> Report:
    return Report(note=Note(id="n", text=text), code_set=RELEASE, mentions=mentions, checks=(), points_to=points_to)


def test_marks_follow_one_another_and_the_shortest_mention_is_seen() -> None:
    text = "laxity at L4-5 of the ligament"
    outer, inner = mention(text, Assertion.AFFIRMED), mention("L4-5", Assertion.NEGATED, start=10, concept="level")
    marks = marks_of(made_of(text, outer, inner))
    assert all(before.end <= after.start for before, after in pairwise(marks))
    assert [(text[m.start : m.end], m.look.classes, m.look.sign) for m in marks] == [
        ("laxity at ", "c-finding a-affirmed", ""),
        ("L4-5", "c-level a-negated", "no"),
        (" of the ligament", "c-finding a-affirmed", ""),
    ]
    assert marks[1].look.keys == (f"finding/{text}/affirmed", "level/L4-5/negated")


def test_evidence_that_is_no_mention_is_marked_too() -> None:
    pointer = Pointer(code="M24.28", title="", evidence=(Evidence(0, 4, "told"),))
    (mark,) = marks_of(made_of("told so", points_to=(pointer,)))
    assert (mark.start, mark.end, mark.look.classes, mark.look.keys) == (0, 4, "evidence", ("points-to/M24.28",))


def test_offsets_are_those_a_browser_counts() -> None:
    text = "\U0001f600 é laxity \U0001f9b4"
    live = live_report(made_of(text, mention("laxity", Assertion.AFFIRMED, start=4)), comparing=False)
    ((start, end, _),) = live.marks
    assert text.encode("utf-16-le")[2 * start : 2 * end].decode("utf-16-le") == "laxity"


def test_a_fact_is_told_once_for_every_way_it_stands() -> None:
    again = replace(MENTION, start=60, end=78)
    denied = replace(MENTION, assertion=Assertion.NEGATED)
    facts = facts_of(replace(report(), mentions=(MENTION, again, denied)))
    assert [(fact.key, len(fact.mentions)) for fact in facts] == [
        ("finding/ligament_laxity/affirmed", 2),
        ("finding/ligament_laxity/negated", 1),
    ]


def test_a_mention_in_words() -> None:
    assert describe(MENTION) == "finding: ligament laxity, stated; L4-L5, lumbar; seen on mri; chronic"


def test_every_way_of_standing_has_a_word_and_a_sign() -> None:
    assert list(STANDS) == list(SIGNS) == list(Assertion)
    assert len(set(SIGNS.values())) == len(Assertion)


def test_what_only_reads_like_a_disease_is_left_to_a_person() -> None:
    start = TEXT.index("hypertrophy")
    like = Suggestion(
        concept="disease", start=start, end=start + 11, text="hypertrophy", code="M62.84", title="", alias="<x>",
        score=0.9, findings=("M24.28/basis",),
    )  # fmt: skip
    made = html(replace(report(CHECK), suggestions=(like,)))
    item = made.partition('id="item-M24-28-basis"')[2].partition('id="item-')[0]
    said = " ".join(unescape(re.sub(r"<[^>]+>", "", item)).split())
    assert "The note says hypertrophy 4:21, which reads like <x> (M62.84); a person has to judge." in said


def test_it_is_of_one_note(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["check", "a.txt", "b.txt", "--format", "html"]) == cli.BROKEN
    assert "one file at a time" in capsys.readouterr().err
