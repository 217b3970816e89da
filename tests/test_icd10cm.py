"""The code set's facts: what exists, what is billable, site axes, Excludes both ways, code first, 7th characters."""

from __future__ import annotations

import csv
import gzip
import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from notegap.errors import DataError, UsageError
from notegap.icd10cm import OTHER_SITES, CodeSet, is_spinal, load, normalize
from notegap.icd10cm import compile as compiler
from notegap.model import REGIONS

REFERENCE = Path(__file__).parents[2] / "shared" / "reference"


@pytest.fixture(scope="module")
def codes() -> CodeSet:
    return load()


@pytest.fixture(scope="module")
def billable_spine() -> list[dict[str, str]]:
    file = REFERENCE / "billable_spine.csv"
    if not file.is_file():
        pytest.skip("../shared/reference/billable_spine.csv is not here")
    with file.open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


def axis(codes: CodeSet, family: str) -> dict[str, str]:
    return dict(codes.site_axis(family))


def family(stem: str, sites: str) -> dict[str, str]:
    """`family("M43.2", "u1..8")`: the last characters in the order unspecified, REGIONS, multiple; "-" has none."""
    names = ("unspecified", *REGIONS, "multiple")
    return {name: stem + char for name, char in zip(names, sites, strict=True) if char != "-"}


# ── writing a code ──────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("written", "code"),
    [
        ("M24.28", "M24.28"),
        ("m2428", "M24.28"),
        (" m53.2x6 ", "M53.2X6"),
        ("M532X-", "M53.2X"),
        ("M53.2-", "M53.2"),
        ("M53.-", "M53"),
        ("s134xxa", "S13.4XXA"),
        ("m1a", "M1A"),
        ("qa0010", "QA0.010"),
        ("M48.46X_", "M48.46X"),
        ("M5O.20", "M5O.20"),
        ("M43.29", "M43.29"),
    ],
)
def test_a_code_is_dotted_and_upper_case(written: str, code: str) -> None:
    assert normalize(written) == code


@pytest.mark.parametrize(
    "text", ["", " ", "M", "M2", "24.28", "M24.28.1", "M2.428", "M24.2812345", "spine", "SOAP", "L4-5"]
)
def test_a_text_that_is_no_code_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        normalize(text)


def test_the_refusal_does_not_repeat_a_long_text() -> None:
    with pytest.raises(UsageError) as refused:
        normalize("the patient reports neck pain")
    assert str(refused.value) == (
        "A text of 29 characters is not an ICD-10-CM code: codes look like M24.28 or M53.2X6."
    )


# ── what exists ─────────────────────────────────────────────────────────────────────────────────


def test_the_release_has_a_name(codes: CodeSet) -> None:
    assert codes.release == "ICD-10-CM FY2026 (April 2026)"


def test_a_code_knows_its_place(codes: CodeSet) -> None:
    code = codes.get("m24.28")
    assert code is not None
    assert code.title == "Disorder of ligament, vertebrae"
    assert (code.valid, code.billable, code.needs_seventh) == (True, True, False)
    assert code.ancestors == ("M24.2", "M24", "M20-M25", "CH13")
    assert [codes.title(id_) for id_ in code.ancestors] == [
        "Disorder of ligament",
        "Other specific joint derangements",
        "Other joint disorders (M20-M25)",
        "Diseases of the musculoskeletal system and connective tissue (M00-M99)",
    ]


def test_a_block_of_one_category_is_told_from_it(codes: CodeSet) -> None:
    code = codes.get("M99.24")
    assert code is not None
    assert code.ancestors == ("M99.2", "M99", "M99-M99", "CH13")
    block = codes.node("M99-M99")
    assert block is not None
    assert (block.valid, block.billable, block.children) == (False, False, ("M99",))


@pytest.mark.parametrize(
    "code", ["M53", "M53.2", "M53.2X", "M43.2", "M49.8", "M48.06", "M48.46", "S13.4", "M51.36", "M54.5"]
)
def test_a_header_is_valid_and_not_billable(codes: CodeSet, code: str) -> None:
    found = codes.get(code)
    assert found is not None
    assert found.valid
    assert not found.billable


@pytest.mark.parametrize(
    "code",
    ["M43.29", "M53.20", "M53.2X0", "M46.29", "M48.09", "M43.59", "M44", "S13.4X", "S13.4XX", "S13.4XXB", "M53.2X6A"],
)
def test_a_code_that_does_not_exist(codes: CodeSet, code: str) -> None:
    assert codes.get(code) is None
    assert codes.problem(code) is not None


def test_seventh_characters(codes: CodeSet) -> None:
    stem = codes.get("M48.46")
    assert stem is not None
    assert stem.needs_seventh
    assert "".join(stem.seventh) == "ADGS"
    assert stem.children == ("M48.46XA", "M48.46XD", "M48.46XG", "M48.46XS")
    titles = {code: codes.title(code) for code in ("S13.4XXA", "M80.08XA", "M48.46XD", "S12.000B")}
    assert titles == {
        "S13.4XXA": "Sprain of ligaments of cervical spine, initial encounter",
        "M80.08XA": "Age-related osteoporosis with current pathological fracture, vertebra(e), "
        "initial encounter for fracture",
        "M48.46XD": "Fatigue fracture of vertebra, lumbar region, "
        "subsequent encounter for fracture with routine healing",
        "S12.000B": "Unspecified displaced fracture of first cervical vertebra, initial encounter for open fracture",
    }
    assert all(is_billable(codes, code) for code in titles)


def is_billable(codes: CodeSet, code: str) -> bool:
    found = codes.get(code)
    return found is not None and found.billable


def test_every_billable_code_is_there_and_no_more(codes: CodeSet) -> None:
    chapters = [f"CH{number:02d}" for number in range(1, 23)]
    blocks = [block for chapter in chapters for block in _children(codes, chapter)]
    categories = [category for block in blocks for category in _children(codes, block)]
    assert sum(len(codes.leaves(category)) for category in categories) == 74_719


def _children(codes: CodeSet, id_: str) -> tuple[str, ...]:
    node = codes.node(id_)
    assert node is not None
    return node.children


def test_spine_codes_agree_with_the_reference(codes: CodeSet, billable_spine: list[dict[str, str]]) -> None:
    differing = [
        row["code"]
        for row in billable_spine
        if not is_billable(codes, row["code"]) or codes.title(row["code"]) != row["title"] or not is_spinal(row["code"])
    ]
    assert differing == []
    manifestation, code_first = "manifestation (in diseases classified elsewhere)", "code_first (inherited)"
    assert [
        row["code"] for row in billable_spine if codes.is_manifestation(row["code"]) != (row[manifestation] == "1")
    ] == []
    assert [
        row["code"] for row in billable_spine if bool(codes.code_first(row["code"])) != (row[code_first] == "1")
    ] == []


# ── sites ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("stem", "axis_stem", "sites"),
    [
        ("M53.2", "M53.2X", "912345678-"),  # 9 is unspecified
        ("M53.2X", "M53.2X", "912345678-"),
        ("M49.8", "M49.8", "0123456789"),  # 9 is multiple
        ("M46.0", "M46.0", "0123456789"),
        ("M43.2", "M43.2", "012345678-"),  # there is no 9
        ("M48.0", "M48.0", "012345678-"),
        ("M48.8X", "M48.8X", "912345678-"),
        ("M47.81", "M47.81", "912345678-"),
        ("M45", "M45.", "9123456780"),  # 0 is multiple
        ("M45.A", "M45.A", "012345678B"),
        ("M48.4", "M48.4", "012345678-"),
        ("M47.1", "M47.1", "0123456---"),
        ("M51.1", "M51.1", "----4567--"),
        ("Q76.41", "Q76.41", "912345----"),
    ],
)
def test_site_axis_is_read_from_the_titles(codes: CodeSet, stem: str, axis_stem: str, sites: str) -> None:
    assert axis(codes, stem) == family(axis_stem, sites)


def test_the_axis_of_biomechanical_lesions_has_no_junctions(codes: CodeSet) -> None:
    assert axis(codes, "M99.2") == {
        "occipito_atlanto_axial": "M99.20",
        "cervical": "M99.21",
        "cervicothoracic": "M99.21",
        "thoracic": "M99.22",
        "thoracolumbar": "M99.22",
        "lumbar": "M99.23",
        "lumbosacral": "M99.23",
        "sacral": "M99.24",
        "pelvic": "M99.25",
        "lower_extremity": "M99.26",
        "upper_extremity": "M99.27",
        "rib_cage": "M99.28",
        "abdomen": "M99.29",
    }


def test_a_cervical_disc_with_no_level_is_the_unspecified_cervical_code(codes: CodeSet) -> None:
    assert axis(codes, "M50.2") == {"unspecified": "M50.20", "cervical": "M50.20", "cervicothoracic": "M50.23"}


@pytest.mark.parametrize("stem", ["M24.2", "M24.28", "M51.A", "M54.5", "M96.0", "M53.3", "M44.1"])
def test_a_family_without_sites(codes: CodeSet, stem: str) -> None:
    assert axis(codes, stem) == {}
    assert codes.at_site(stem, "lumbar") == stem


@pytest.mark.parametrize(
    ("stem", "region", "code"),
    [
        ("M53.2X", "lumbar", "M53.2X6"),
        ("M53.2", "sacral", "M53.2X8"),
        ("M53.2X9", "thoracolumbar", "M53.2X5"),
        ("M48.0", "lumbar", "M48.06"),  # its children say claudication, which the region does not
        ("M48.061", "cervical", "M48.02"),
        ("M43.29", "lumbar", "M43.26"),
        ("M43.2", "multiple", "M43.2"),
        ("M49.8", "multiple", "M49.89"),
        ("M99.2", "lumbosacral", "M99.23"),
        ("M47.1", "sacral", "M47.1"),
        ("M48.46XA", "cervical", "M48.42XA"),
    ],
)
def test_the_code_at_a_site(codes: CodeSet, stem: str, region: str, code: str) -> None:
    assert codes.at_site(stem, region) == code


@pytest.mark.parametrize(
    ("code", "region"),
    [
        ("M53.2X6", "lumbar"),
        ("M53.2X9", "unspecified"),
        ("M49.89", "multiple"),
        ("M45.0", "multiple"),
        ("M48.061", "lumbar"),
        ("M48.46XD", "lumbar"),
        ("M99.20", "occipito_atlanto_axial"),
        ("M99.24", "sacral"),
        ("M99.25", "pelvic"),
        ("M50.222", "cervical"),
        ("M50.13", "cervicothoracic"),
        ("S13.4XXA", "cervical"),
        ("S33.6XXA", "sacral"),
        ("S13.180A", "cervicothoracic"),
        ("S13.120A", "occipito_atlanto_axial"),
        ("M24.28", None),
        ("M54.9", None),
        ("M43.29", None),
        ("N87.0", None),
    ],
)
def test_the_region_of_a_code(codes: CodeSet, code: str, region: str | None) -> None:
    assert codes.region_of(code) == region


def test_regions_of_the_spine_are_named_as_in_the_model(codes: CodeSet, billable_spine: list[dict[str, str]]) -> None:
    assert {codes.region_of(row["code"]) for row in billable_spine} <= {
        *REGIONS,
        *OTHER_SITES,
        "unspecified",
        "multiple",
        None,
    }


# ── notes ───────────────────────────────────────────────────────────────────────────────────────


def excludes1(codes: CodeSet, code: str) -> list[tuple[str, bool, tuple[str, ...]]]:
    return [(note.at, note.reverse, note.codes) for note in codes.excludes1(code)]


EVERYTHING = ("T88.7", True, ("A00-R94", "T80-T88.6", "T88.8"))


def test_excludes1_of_a_ligament_disorder(codes: CodeSet) -> None:
    assert excludes1(codes, "M24.28") == [
        ("M24.2", False, ("M35.7",)),
        ("M24", False, ()),
        ("M25.3", True, ("M24.2-",)),
        ("M35.7", True, ("M24.2-",)),
        EVERYTHING,
    ]


def test_excludes1_of_instability_stand_at_the_block(codes: CodeSet) -> None:
    assert excludes1(codes, "M53.2X6") == [
        ("M50-M54", False, ()),
        ("M50-M54", False, ("M46.4-",)),
        ("G55", True, ("M53.-", "M54.-")),
        EVERYTHING,
    ]


def test_an_excludes1_that_only_the_other_side_has(codes: CodeSet) -> None:
    assert excludes1(codes, "M99.24") == [("M43.5", True, ("M99.-",)), EVERYTHING]
    (note,) = codes.excludes1_between("M99.24", "M43.5X8")
    assert (note.at, note.reverse) == ("M43.5", True)
    (note,) = codes.excludes1_between("M43.5X8", "M99.24")
    assert (note.at, note.reverse) == ("M43.5", False)


def test_the_misprint_of_ankylosing_spondylitis_is_read_as_the_category(codes: CodeSet) -> None:
    (note,) = codes.excludes1_between("M43.20", "M45.6")
    assert note.text == "ankylosing spondylitis (M45.0-)"
    assert note.codes == ("M45.-",)


@pytest.mark.parametrize(
    ("code", "other", "where"),
    [
        ("M49.88", "A18.01", ["M49", "M49"]),  # Pott's curvature, tuberculous spondylitis
        ("M49.88", "A23.9", []),
        ("M43.21", "Q76.49", ["M43.2", "M43", "M43", "M43"]),
        ("M43.21", "Z98.1", []),  # Excludes2
        ("M24.28", "M53.2X6", []),
        ("M24.28", "M35.7", ["M24.2", "M35.7"]),
        ("S33.0XXA", "M51.26", ["S33.0", "S33"]),  # "M51.- with fifth character 6"
        ("S33.0XXA", "M51.27", ["S33"]),
        ("M43.20", "M43.20", []),
    ],
)
def test_excludes1_between_two_codes(codes: CodeSet, code: str, other: str, where: list[str]) -> None:
    assert [note.at for note in codes.excludes1_between(code, other)] == where
    assert sorted(note.at for note in codes.excludes1_between(other, code)) == sorted(where)


def test_excludes2_both_ways(codes: CodeSet) -> None:
    found = [(note.at, note.reverse) for note in codes.excludes2("M43.20") if note.at[:2] != "CH"]
    assert found[:2] == [("M43.2", False), ("M43.2", False)]
    assert {at for at, reverse in found if reverse} >= {"M20-M25", "M24.6", "M95"}


def test_code_first(codes: CodeSet) -> None:
    assert [(line.text, line.codes, line.at) for line in codes.code_first("M49.88")] == [
        ("underlying disease, such as:", (), "M49"),
        ("brucellosis (A23.-)", ("A23.-",), "M49"),
        ("Charcot-Marie-Tooth disease (G60.0)", ("G60.0",), "M49"),
        ("enterobacterial infections (A01-A04)", ("A01-A04",), "M49"),
        ("osteitis fibrosa cystica (E21.0)", ("E21.0",), "M49"),
    ]
    assert codes.code_first("M53.2X6") == ()


def test_other_notes_are_inherited(codes: CodeSet) -> None:
    assert [line.text for line in codes.inclusion_terms("M24.28")] == [
        "Instability secondary to old ligament injury",
        "Ligamentous laxity NOS",
    ]
    assert [line.at for line in codes.notes("M99.24")] == ["M99", "CH13"]
    assert codes.use_additional("M46.36")[0].codes == ("B95-B97",)


@pytest.mark.parametrize(
    ("code", "manifestation"),
    [
        ("M49.88", True),
        ("G99.2", True),
        ("M36.0", True),
        ("M53.2X6", False),
        ("M96.1", False),
        ("M99.24", False),  # "not elsewhere classified"
        ("B95.61", False),  # "as the cause of diseases classified elsewhere"
        ("M43.29", False),
    ],
)
def test_manifestations(codes: CodeSet, code: str, manifestation: bool) -> None:
    assert codes.is_manifestation(code) is manifestation


@pytest.mark.parametrize(
    ("code", "written", "inside"),
    [
        ("M23.51", "M23.5-M23.8X9", True),
        ("M23.8X9", "M23.5-M23.8X9", True),
        ("M23.9", "M23.5-M23.8X9", False),
        ("M23", "M23.5-M23.8X9", False),
        ("A04.9", "A01-A04", True),
        ("A05", "A01-A04", False),
        ("M54.50", "M40-M54", True),
        ("M24.28", "M24.2-", True),
        ("M24.3", "M24.2-", False),
        ("M45.A2", "M45.-", True),
        ("S13.4XXA", "S13.4", True),
        ("M1A.9XX0", "M05-M14", True),  # gout M1A stands before M10
        ("C4A.9", "C45-C49", False),
        ("M51.26", "M51.?6", True),
        ("M51.2", "M51.?6", False),
    ],
)
def test_ranges(codes: CodeSet, code: str, written: str, inside: bool) -> None:
    assert codes.in_range(code, written) is inside


# ── what was meant ──────────────────────────────────────────────────────────────────────────────

INSTABILITIES = tuple(f"M53.2X{site}" for site in "123456789")
UNSPECIFIED_FIRST = (INSTABILITIES[-1], *INSTABILITIES[:-1])


@pytest.mark.parametrize(
    ("code", "meant"),
    [
        ("M53.2X6", ()),
        ("M43.29", tuple(f"M43.2{site}" for site in "012345678")),
        ("M53.20", UNSPECIFIED_FIRST),
        ("M53.2X0", UNSPECIFIED_FIRST),
        ("M53.2", INSTABILITIES),
        ("M53.2X", INSTABILITIES),
        ("M46.29", tuple(f"M46.2{site}" for site in "012345678")),
        ("M48.09", tuple(f"M48.0{site}" for site in ("0", "1", "2", "3", "4", "5", "61", "62", "7", "8"))),
        ("M43.59", tuple(f"M43.5X{site}" for site in "92345678")),
        ("M24.82", ("M24.28", "M24.821", "M24.822", "M24.829")),  # two characters swapped
        ("M5O.20", ("M50.20",)),  # a letter O
        ("M53.26", ("M53.2X6",)),  # no placeholder
        ("M53.2XX6", ("M53.2X6",)),  # one too many
        ("S13.4A", ("S13.4XXA",)),
        ("S13.4XX", ("S13.4XXA", "S13.4XXD", "S13.4XXS")),
        ("S13.4", ("S13.4XXA", "S13.4XXD", "S13.4XXS")),
        ("M24.280", ("M24.28",)),
        ("M48.4", tuple(f"M48.4{site}" for site in "012345678")),  # 36 codes: the headers
        ("M51.36", ("M51.360", "M51.361", "M51.362", "M51.369")),
        ("U99.99", ()),
    ],
)
def test_what_was_meant(codes: CodeSet, code: str, meant: tuple[str, ...]) -> None:
    assert codes.meant(code) == meant


@pytest.mark.parametrize(
    ("code", "problem"),
    [
        ("M53.2X6", None),
        ("M53.20", "M53.20 does not exist in ICD-10-CM FY2026 (April 2026)."),
        (
            "M43.29",
            "M43.29 does not exist in ICD-10-CM FY2026 (April 2026): "
            "M43.2 has no code for multiple sites, each region has its own.",
        ),
        ("M53.2", "M53.2 cannot be reported as it stands: it is a header, its codes have more characters."),
        ("M48.46", "M48.46 cannot be reported as it stands: it needs a 7th character (A, D, G, S)."),
    ],
)
def test_the_problem_in_a_sentence(codes: CodeSet, code: str, problem: str | None) -> None:
    assert codes.problem(code) == problem


# ── search ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("m532x", ["M53.2X", *INSTABILITIES]),
        ("M48.46XD", ["M48.46XD"]),
        ("S13.4", ["S13.4", "S13.4XXA", "S13.4XXD", "S13.4XXS"]),
        ("S13.4X", ["S13.4XXA", "S13.4XXD", "S13.4XXS"]),
        ("spinal instability", ["M53.2", "M53.2X", *INSTABILITIES]),
        ("posterior longitudinal ligament ossification", ["M48.8"]),
        ("", []),
        ("---", []),
        ("no such words anywhere", []),
    ],
)
def test_search(codes: CodeSet, text: str, found: list[str]) -> None:
    assert [code.code for code in codes.search(text)] == found


def test_search_gives_the_spine_first_and_not_too_much(codes: CodeSet) -> None:
    found = [code.code for code in codes.search("stenosis", limit=30)]
    assert len(found) == 30
    assert all(is_spinal(code) for code in found)


# ── the compiled files ──────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def compiled() -> dict[str, bytes]:
    if importlib.util.find_spec("simple_icd_10_cm") is None:
        pytest.skip("simple-icd-10-cm is not installed")
    return compiler.compile_tabular()


def test_the_shipped_files_are_what_the_tabular_compiles_to(compiled: dict[str, bytes]) -> None:
    assert sorted(compiled) == sorted(file.name for file in compiler.DATA.iterdir())
    # The content is compared: another zlib may pack the same content otherwise.
    for name, content in compiled.items():
        assert gzip.decompress(content) == gzip.decompress((compiler.DATA / name).read_bytes())
        assert content[4:8] == b"\0\0\0\0"  # no time of making


def test_no_range_names_a_category_the_tabular_lacks(codes: CodeSet) -> None:
    excludes = json.loads(gzip.decompress((compiler.DATA / "excludes.json.gz").read_bytes()))
    ranges = {written for rows in excludes.values() for _, _, *named in rows for written in _flat(named)}
    assert len(ranges) > 4000
    assert [written for written in ranges if codes.get(written[:3]) is None] == []


def _flat(named: list[list[str]]) -> Iterator[str]:
    for written in named:
        yield from written


def test_missing_or_damaged_data_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"codes\.txt\.gz\) is missing or damaged"):
        CodeSet(tmp_path)
    (tmp_path / "codes.txt.gz").write_bytes((compiler.DATA / "codes.txt.gz").read_bytes()[:5000])
    with pytest.raises(DataError, match="missing or damaged"):
        CodeSet(tmp_path)
