"""Formats of notes: each is recognised by its content and read whole and in order; what is hostile or damaged is told.

The documents are made here, in words of our own. The last tests read the files of ../shared/interface, where there are.
"""

from __future__ import annotations

import base64
import io
import json
import time
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import docx
import hl7
import pypdf
import pytest
from pypdf.generic import DecodedStreamObject, DictionaryObject, NameObject

from notegap.analyzer import Analyzer
from notegap.errors import EmptyNoteError, NoteError
from notegap.model import Metadata, Note
from notegap.notes.document import Document, RowError, Writer, iso_date
from notegap.notes.files import read_file, read_note
from notegap.notes.inputs import read_notes
from notegap.notes.read import FORMATS, READERS, read_documents, recognize
from notegap.notes.text import NoteOptions, decode
from notegap.report.json import as_dict

INTERFACE = Path(__file__).resolve().parents[2] / "shared" / "interface"
CANARY = "Quetzalcoatlus"
LAUGHS = "".join(f'<!ENTITY a{n + 1} "{f"&a{n};" * 10}">' for n in range(9))


def documents(data: bytes, format_: str | None = None, **options: Any) -> list[Document | RowError]:
    return list(read_documents(data, "n", format_, **options))


def document(data: bytes, format_: str | None = None, **options: Any) -> Document:
    (found,) = documents(data, format_, **options)
    assert isinstance(found, Document)
    return found


def refused(data: bytes, format_: str | None = None, **options: Any) -> str:
    with pytest.raises(NoteError) as caught:
        documents(data, format_, **options)
    assert CANARY not in f"{caught.value!r}{caught.value.__cause__!r}"
    return str(caught.value)


def quoted(found: Document) -> list[tuple[str, str, str]]:
    return [(part.kind, part.id, found.text[part.start : part.end]) for part in found.parts]


# ── documents made here ─────────────────────────────────────────────────────────────────────────


def a_docx(fill: Callable[[Any], object]) -> bytes:
    word = docx.Document()
    fill(word)
    out = io.BytesIO()
    word.save(out)
    return out.getvalue()


def a_pdf(*pages: str, password: str = "", owner_only: bool = False) -> bytes:
    writer = pypdf.PdfWriter()
    font = DictionaryObject(
        {NameObject("/Type"): NameObject("/Font"), NameObject("/Subtype"): NameObject("/Type1"),
         NameObject("/BaseFont"): NameObject("/Helvetica")}
    )  # fmt: skip
    for text in pages:
        page = writer.add_blank_page(612, 792)
        stream = DecodedStreamObject()
        shown = "".join(f"({line}) Tj T* " for line in text.split("\n"))
        stream.set_data(f"BT /F1 12 Tf 14 TL 72 720 Td {shown}ET".encode() if text else b"")
        page[NameObject("/Contents")] = writer._add_object(stream)
        page[NameObject("/Resources")] = DictionaryObject(
            {NameObject("/Font"): DictionaryObject({NameObject("/F1"): font})}
        )
    if password or owner_only:
        writer.encrypt("" if owner_only else password, "owner", algorithm="RC4-128")
    out = io.BytesIO()
    writer.write(out)
    return out.getvalue()


def cda(body: str, *, header: str = "", namespace: str = ' xmlns="urn:hl7-org:v3"') -> bytes:
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<ClinicalDocument{namespace}>{header}'
        f"<component>{body}</component></ClinicalDocument>"
    ).encode()


def section(text: str, *, title: str = "", code: str = "", more: str = "", attributes: str = "") -> str:
    coded = f'<code code="{code}" codeSystem="2.16.840.1.113883.6.1"/>' if code else ""
    named = f"<title>{title}</title>" if title else ""
    return f"<component><section{attributes}>{coded}{named}<text>{text}</text>{more}</section></component>"


def structured(*sections: str) -> bytes:
    return cda(f"<structuredBody>{''.join(sections)}</structuredBody>")


def unstructured(text: str, attributes: str = "") -> bytes:
    return cda(f"<nonXMLBody><text {attributes}>{text}</text></nonXMLBody>")


def base64_of(data: bytes) -> str:
    return base64.b64encode(data).decode()


def message(*segments: str, kind: str = "MDM^T02", control_id: str = "C1", charset: str = "", end: str = "\r") -> str:
    header = f"MSH|^~\\&|EHR|SITE|NG|SITE|20260430101500||{kind}|{control_id}|P|2.5||||||{charset}"
    return end.join([header, *segments]) + end


def obx(number: int, value: str, *, kind: str = "TX", name: str = "", status: str = "F") -> str:
    return f"OBX|{number}|{kind}|{name}||{value}||||||{status}"


def reference(*attachments: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {
        "resourceType": "DocumentReference",
        "status": "current",
        "content": [{"attachment": attachment} for attachment in attachments],
    } | fields


def attached(data: bytes | str, content_type: str) -> dict[str, Any]:
    return {"contentType": content_type, "data": base64_of(data if isinstance(data, bytes) else data.encode())}


RTF = rb"{\rtf1\ansi\ansicpg1252{\fonttbl{\f0\fcharset0 Arial;}}\f0 Laxity of the L4-5\par interspinous ligament.}"
HTML = b"<!DOCTYPE html><html><body><p>Laxity of the L4-5</p><p>interspinous ligament.</p></body></html>"
LAXITY = "Laxity of the L4-5\ninterspinous ligament.\n"
SAMPLES: dict[str, bytes] = {
    "text": b"Laxity of the L4-5\ninterspinous ligament.\n",
    "rtf": RTF,
    "html": HTML,
    "docx": a_docx(lambda word: [word.add_paragraph(line) for line in LAXITY.splitlines()]),
    "pdf": a_pdf(LAXITY.strip()),
    "ccda": structured(section("<paragraph>Laxity of the L4-5</paragraph>interspinous ligament.")),
    "hl7v2": message(obx(1, "Laxity of the L4-5"), obx(2, "interspinous ligament.")).encode(),
    "fhir": json.dumps(reference(attached(LAXITY, "text/plain"))).encode(),
}


# ── which format ────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", FORMATS)
def test_each_format_is_recognised_and_gives_the_same_text(name: str) -> None:
    assert recognize(SAMPLES[name]) == name
    assert document(SAMPLES[name]).text == LAXITY
    assert document(SAMPLES[name], name).text == LAXITY


def test_every_format_has_a_sample() -> None:
    assert set(SAMPLES) == {"text", *READERS}


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"<HOSPITAL NAME>\nLow back pain.", "text"),
        (b"< 3 months of pain", "text"),
        (b"{pain}", "text"),
        (b"MSH is an abbreviation", "text"),
        (b"% PDF", "text"),
        (b"", "text"),
        (b'{"text": "\\"resourceType\\": 1"}', "text"),
        (b'  {"id": 1, "resourceType" : "Patient"}', "fhir"),
        (b"\x0bMSH|^~\\&|", "hl7v2"),
        (b"\r\nFHS|^~\\&|\rBHS|^~\\&|", "hl7v2"),
        (b"MSH#*~\\&#", "hl7v2"),
        (b"\xef\xbb\xbf<html lang='en'>", "html"),
        ("<html>".encode("utf-16"), "html"),
        (b"<div>Pain</div>", "html"),
        (b'<?xml version="1.0"?><!-- a --><html xmlns="http://www.w3.org/1999/xhtml">', "html"),
        (b"<!-- a --><n1:ClinicalDocument xmlns:n1='urn:hl7-org:v3'></n1:ClinicalDocument>", "ccda"),
        (b"<section><text>Pain</text></section>", "ccda"),
        (b"<?xml version='1.0'?><DocumentReference/>", "xml"),
        (b"<!DOCTYPE a><a/>", "xml"),
    ],
)
def test_recognition_is_by_content(data: bytes, name: str) -> None:
    assert recognize(data) == name


def test_a_format_that_is_asked_for_is_used() -> None:
    assert document(HTML, "text").text == HTML.decode()
    assert document(b"Back pain", "html").text == "Back pain\n"
    for name in ("rtf", "docx", "pdf", "ccda", "hl7v2", "fhir"):
        assert refused(f"{CANARY} has back pain".encode(), name).startswith("n: ")


def test_xml_of_another_kind() -> None:
    assert refused(b"<?xml version='1.0'?><a/>") == (
        "n: is XML, neither a C-CDA document nor HTML; FHIR is read as JSON"
    )


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(_name: str) -> None:
        raise ModuleNotFoundError("No module named 'lxml'", name="lxml")

    monkeypatch.setattr("notegap.notes.read.import_module", missing)
    assert refused(HTML) == "n: reading html needs the package lxml: pip install 'notegap[formats]'"


@pytest.mark.parametrize("name", [name for name in FORMATS if name not in ("text", "docx")])
def test_the_limit_is_the_texts_and_the_files(name: str) -> None:
    assert document(SAMPLES[name], max_bytes=len(LAXITY)).text == LAXITY
    assert refused(SAMPLES[name], max_bytes=len(LAXITY) - 1).startswith("n: is longer than 41 bytes")
    assert refused(SAMPLES[name], max_bytes=1).startswith("n: is longer than ")


# ── rich text ───────────────────────────────────────────────────────────────────────────────────


def test_rtf() -> None:
    rtf = (
        rb"{\rtf1\ansi\ansicpg1252\deff0{\fonttbl{\f0\fswiss\fcharset0 Arial;}{\f1\fcharset204 Arial Cyr;}}"
        rb"{\colortbl ;\red0\green0\blue0;}{\*\generator Writer;}{\info{\author Someone}}"
        rb"\pard\b Assessment\b0\par The patient\rquote s ligament \'96 \u8804? 3 mm, \u-10179?\u-8906?"
        rb"{\v hidden}{\deleted gone}{\strike not so}{\strike0 kept}\line L4\endash 5\par"
        rb"{\field{\*\fldinst{HYPERLINK http://example.org}}{\fldrslt{the study}}}\par"
        rb"{\pict\wmetafile8 0123abcd}\trowd\cellx1\cellx2 Flexion\intbl\cell 4 mm\cell\row\pard "
        rb"{\f1 \'e1\'ee\'eb\'fc}\par}"
    )
    assert document(rtf).text == (
        "Assessment\nThe patient’s ligament – ≤ 3 mm, \U0001f536kept\nL4–5\nthe study\nFlexion | 4 mm\nболь\n"
    )


@pytest.mark.parametrize(
    "rtf",
    [
        b"{\\rtf1 " + b"{" * 200_000 + b"deep",
        b"{\\rtf1 " + b'{\\field{\\*\\fldinst{HYPERLINK "' * 10_000,
        b"{\\rtf1 {\\fonttbl" + b"\\f1\\fcharset0 " * 20_000 + b"}text}",
        b"{\\rtf1 {\\fonttbl" + b"\\f1" * 50_000 + b"}text}",
        b"{\\rtf1 {" + b"\\b" * 100_000 + b"}text}",
        b"{\\rtf1 {\\fonttbl" + b"{\\f1 " * 50_000,
    ],
)
def test_rtf_that_would_take_for_ever(rtf: bytes) -> None:
    started = time.process_time()
    with suppress(NoteError):
        documents(rtf)
    assert time.process_time() - started < 10


@pytest.mark.parametrize("rtf", [rb"{\rtf1 \u99999999999999?}", rb"{\rtf1{\fonttbl{\f1\fcharset78 x;}}\f1 \'e1" + b"}"])
def test_rtf_that_is_damaged(rtf: bytes) -> None:
    assert refused(rtf) == "n: is not RTF that can be read; it is damaged, or in an encoding that is not known"


def test_html() -> None:
    html = """<html><head><title>Visit</title><style>p {}</style></head><body>
      <script>alert(1)</script><!-- a comment --><nav hidden>menu</nav>
      <h2>Assessment</h2><p>Laxity of the <b>L4-5</b>
         interspinous&nbsp;ligament &amp; <i>not</i> of L5-S1.<br>Second line</p>
      <div style="display: none">unseen</div><p>Was <del>severe</del><ins>mild</ins> <s>no</s>.</p>
      <ul><li>Brace</li><li><p>Exercise</p><ol><li>Daily</li><li>Weekly</li></ol></li></ul>
      <table><thead><tr><th>Level</th><th>Shift</th></tr></thead>
        <tr><td>L4-5</td><td>4 mm</td></tr><tr><td></td><td>2 mm</td></tr><tr><td>L5-S1</td><td></td><td>x</td></tr>
      </table><table><tr><th>Pulse</th><td>72</td></tr></table>
      <pre>one
  two</pre><textarea>field</textarea></body></html>"""
    assert document(html.encode()).text == (
        "ASSESSMENT:\nLaxity of the L4-5 interspinous ligament & not of L5-S1.\nSecond line\nWas mild .\n"
        "- Brace\n- Exercise\n1. Daily\n2. Weekly\n"
        "Level | Shift\nL4-5 | 4 mm\n2 mm\nL5-S1 | | x\nPulse: 72\none\n  two\n"
    )


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ("<html><p>the patient’s spine".encode("cp1252"), ["read as Windows-1252"]),
        ("<html><p>the patient’s spine".encode("utf-16"), ["read as UTF-16"]),
        ('<html><meta charset="windows-1252"><p>the patient’s spine'.encode("cp1252"), []),
        ('<?xml version="1.0" encoding="utf-8"?><html><p>the patient’s spine</p></html>'.encode(), []),
    ],
)
def test_html_in_other_encodings(data: bytes, said: list[str]) -> None:
    remarks: list[str] = []
    assert document(data, say=remarks.append).text == "the patient’s spine\n"
    assert remarks == said


def test_html_that_is_hostile_or_empty() -> None:
    assert refused(b"<html>" + b"<div>" * 5000 + CANARY.encode()) == "n: is nested deeper than 256 elements"
    with pytest.raises(EmptyNoteError, match="nothing to read"):
        document(b"<html><script>x</script></html>")
    entity = b'<!DOCTYPE html [<!ENTITY x SYSTEM "file:///etc/passwd">]><html><p>Pain &x;</p></html>'
    assert "root:" not in document(entity).text


def test_docx() -> None:
    def fill(word: Any) -> None:
        word.add_heading("Assessment", 1)
        paragraph = word.add_paragraph("Laxity of the ")
        paragraph.add_run("L4-5").bold = True
        hidden = paragraph.add_run(" hidden")
        hidden.font.hidden = True
        struck = paragraph.add_run(" struck")
        struck.font.strike = True
        word.add_paragraph("Brace", style="List Bullet")
        table = word.add_table(2, 2)
        for cell, text in zip(table._cells, ("Level", "Shift", "L4-5", "4 mm"), strict=True):
            cell.text = text
        word.add_paragraph("Follow-up:\tin six weeks\nor sooner")
        word.sections[0].header.paragraphs[0].text = "Page header"

    assert document(a_docx(fill)).text == (
        "ASSESSMENT:\nLaxity of the L4-5\nBrace\nLevel | Shift\nL4-5 | 4 mm\nFollow-up:\tin six weeks\nor sooner\n"
    )


def test_docx_shows_its_final_version_and_its_controls() -> None:
    from lxml import etree

    word = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"

    def fill(made: Any) -> None:
        made.element.body.insert(
            0,
            etree.fromstring(
                f'<w:sdt xmlns:w="{word}"><w:sdtContent><w:p><w:ins><w:r><w:t>Mild </w:t></w:r></w:ins>'
                "<w:del><w:r><w:delText>severe </w:delText></w:r></w:del>"
                "<w:sdt><w:sdtContent><w:r><w:t>stenosis</w:t></w:r></w:sdtContent></w:sdt></w:p></w:sdtContent></w:sdt>"
            ),
        )

    assert document(a_docx(fill)).text == "Mild stenosis\n"


def test_docx_that_is_hostile_or_damaged() -> None:
    whole = SAMPLES["docx"]
    damaged = "n: is a damaged or locked Word document; save it again"
    assert refused(whole[: len(whole) // 2], "docx") == damaged
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("word/document.xml", b" " * 3_000_000)
    assert refused(out.getvalue(), max_bytes=40_000) == "n: unpacks to more than 2,560,000 bytes, the limit"
    assert refused(out.getvalue()) == damaged
    bomb = f'<!DOCTYPE d [<!ENTITY a0 "{CANARY}">{LAUGHS}]><d>&a9;</d>'
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(whole)) as old, zipfile.ZipFile(out, "w") as new:
        for name in old.namelist():
            new.writestr(name, bomb.encode() if name == "word/document.xml" else old.read(name))
    assert refused(out.getvalue()).startswith("n: ")


def test_pdf() -> None:
    found = document(a_pdf("Laxity of the L4-5", "interspinous ligament.\nBrace."))
    assert found.text == "Laxity of the L4-5\ninterspinous ligament.\nBrace.\n"
    assert quoted(found) == [("page", "1", "Laxity of the L4-5"), ("page", "2", "interspinous ligament.\nBrace.")]
    assert document(a_pdf("Back pain", owner_only=True)).text == "Back pain\n"


def test_pdf_without_text_locked_or_damaged() -> None:
    assert refused(a_pdf("", "")) == ("n: is a PDF without text (a scan or a picture); give its text, from OCR for one")
    assert refused(a_pdf(CANARY, password="secret")) == "n: is an encrypted PDF; save it without its password"
    whole = a_pdf(CANARY)
    for cut in range(20, len(whole) - 40, 97):
        # pypdf mends what it can; what it cannot is told.
        with suppress(NoteError):
            documents(whole[:cut], "pdf")
    assert refused(whole[:200], "pdf") == "n: is a damaged PDF; save it again"


def test_pdf_that_would_take_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("notegap.notes.pdf._MOST_OPERATIONS", 20)
    assert document(a_pdf("Pain")).text == "Pain\n"
    assert refused(a_pdf("\n".join(["Pain"] * 20))) == ("n: draws its pages with more than 20 operations, the limit")


# ── C-CDA ───────────────────────────────────────────────────────────────────────────────────────

HEADER = """<id root="1.2.3" extension="D-7"/><code code="11506-3" codeSystem="2.16.840.1.113883.6.1"
 displayName="Progress note"/><title>Spine clinic visit</title><effectiveTime value="20260501"/>
<author><assignedAuthor><assignedPerson><name><given>Ann</given><family>Author</family></name></assignedPerson>
</assignedAuthor></author><legalAuthenticator><assignedEntity><assignedPerson><name><prefix>Dr</prefix>
<given>Sam</given><family>Signer</family></name></assignedPerson></assignedEntity></legalAuthenticator>
<relatedDocument><parentDocument><id root="1.2.2"/></parentDocument></relatedDocument>
<componentOf><encompassingEncounter><id root="9" extension="E-1"/><effectiveTime><low value="202604301015"/>
</effectiveTime><location><healthCareFacility><location><name>Spine clinic</name></location></healthCareFacility>
</location></encompassingEncounter></componentOf>"""


def test_ccda_sections_in_order_with_their_parts() -> None:
    found = document(
        structured(
            section('Pain <content ID="p1">for three\n months</content>.', title="HISTORY OF PRESENT ILLNESS"),
            section("<paragraph>Laxity.</paragraph>", code="51848-0", attributes=' ID="s2"'),
            section("None known", title="Allergies", attributes=' nullFlavor="NI"'),
            section("  ", title="Medications"),
            section(
                "Outer.",
                title="Objective",
                more=section('<list><item ID="i1">Straight leg raise negative</item></list>', title="Exam"),
            ),
        )
    )
    assert found.text == (
        "HISTORY OF PRESENT ILLNESS:\nPain for three months.\n\nASSESSMENT:\nLaxity.\n\nOBJECTIVE:\nOuter.\n\n"
        "EXAM:\n- Straight leg raise negative\n"
    )
    assert quoted(found) == [
        ("section", "", "HISTORY OF PRESENT ILLNESS:\nPain for three months."),
        ("element", "p1", "for three months"),
        ("section", "s2", "ASSESSMENT:\nLaxity."),
        ("section", "", "OBJECTIVE:\nOuter.\n\nEXAM:\n- Straight leg raise negative"),
        ("section", "", "EXAM:\n- Straight leg raise negative"),
        ("element", "i1", "Straight leg raise negative"),
    ]
    note = Note(id="n", text=found.text, parts=found.parts)
    assert [(part.kind, part.id) for part in note.parts_at(found.text.index("three"))] == [
        ("section", ""),
        ("element", "p1"),
    ]
    assert found.parts[2].code == "51848-0"
    assert note.parts_at(len(found.text)) == ()


def test_ccda_narrative() -> None:
    text = """<paragraph><caption>Plan</caption>Brace.</paragraph><list listType="ordered"><item>One</item><item>
      <content revised="delete">Old</content><content revised="insert">New</content></item></list>
      <table><caption>Motion</caption><thead><tr><th>Level</th><th>Shift</th></tr></thead><tbody>
      <tr><td>L4-5</td><td>4<sup>th</sup> <br/></td></tr></tbody></table>
      <renderMultiMedia referencedObject="m1"/><footnote>Measured twice</footnote>"""
    assert document(structured(section(text, title="Plan of care"))).text == (
        "PLAN OF CARE:\nPlan\nBrace.\n1. One\n2. New\nMotion\nLevel | Shift\nL4-5 | 4th\nMeasured twice\n"
    )


def test_ccda_header() -> None:
    found = document(cda(f"<structuredBody>{section('Pain.')}</structuredBody>", header=HEADER))
    assert found.id == "D-7"
    assert found.metadata == Metadata(
        provider="Dr Sam Signer",
        encounter="E-1",
        date="2026-04-30",
        department="Spine clinic",
        document_type="Spine clinic visit",
        type_code="11506-3",
        replaces="1.2.2",
    )


@pytest.mark.parametrize("name", ["text", "rtf", "html", "docx", "pdf"])
def test_ccda_that_embeds_a_document(name: str) -> None:
    encoded = base64_of(SAMPLES[name])
    wrapped = "\n ".join(encoded[at : at + 60] for at in range(0, len(encoded), 60))
    assert document(unstructured(wrapped, 'mediaType="x/y" representation="B64"')).text == LAXITY


def test_ccda_with_plain_text_inline() -> None:
    assert document(unstructured("Back pain &lt; 3 months.\nWorse.")).text == "Back pain < 3 months.\nWorse."


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (unstructured('<reference value="visit.pdf"/>'), "its text is in another file, to which it only refers"),
        (unstructured(f"{CANARY}!", 'representation="B64"'), "what is embedded is not Base64"),
        (unstructured("AAAA", 'compression="DF" representation="B64"'), "its text is compressed"),
        (unstructured(base64_of(a_pdf("")), 'representation="B64"'), "is a PDF without text"),
        (cda("<other/>"), "is a C-CDA document without a body"),
        (structured(section("")), "no section of it has a narrative; coded entries are not read"),
        (structured(section(CANARY))[:-30], "is not well-formed XML (line 2)"),
        (b"<?xml version='1.0' encoding='nonsense'?><section>x</section>", "is not well-formed XML (line 1)"),
        (structured(section("<content>" * 300 + CANARY + "</content>" * 300)), "is nested deeper than 256 elements"),
    ],
)
def test_ccda_that_cannot_be_read(data: bytes, message: str) -> None:
    assert refused(data).startswith(f"n: {message}")


@pytest.mark.parametrize(
    "doctype",
    [
        '<!DOCTYPE d [<!ENTITY x SYSTEM "file:///etc/passwd">]>',
        '<!DOCTYPE d SYSTEM "http://127.0.0.1:9/evil.dtd">',
        f'<!DOCTYPE d [<!ENTITY a0 "{CANARY}">{LAUGHS}]>',
        f'<!DOCTYPE d [<!ENTITY x "{"y" * 100_000}">]>',
        "<!-- a --> <?b c?>\n<!DOCTYPE d>",
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_ccda_with_a_document_type_is_refused_before_it_is_parsed(doctype: str, encoding: str) -> None:
    started = time.process_time()
    text = f"{doctype}<ClinicalDocument>{'&x;' * 1000}&a9;</ClinicalDocument>"
    assert refused(text.encode(encoding), "ccda").startswith("n: has a document type declaration (DTD)")
    assert time.process_time() - started < 2


def test_ccda_in_other_encodings() -> None:
    text = structured(section("the patient’s spine")).decode()
    said: list[str] = []
    assert document(text.encode("cp1252"), say=said.append).text == "the patient’s spine\n"
    assert said == ["read as Windows-1252"]
    assert document(text.replace("UTF-8", "UTF-16").encode("utf-16")).text == "the patient’s spine\n"
    assert document(text.replace("UTF-8", "windows-1252").encode("cp1252")).text == "the patient’s spine\n"


def test_ccda_one_section_and_no_namespace() -> None:
    assert document(b"<section><title>Plan</title><text>Brace.</text></section>").text == "PLAN:\nBrace.\n"
    plain = cda(f"<structuredBody>{section('Pain.')}</structuredBody>", namespace="")
    assert document(plain).text == "Pain.\n"


# ── HL7 v2 ──────────────────────────────────────────────────────────────────────────────────────

PV1 = "PV1|1|O|SPINE^12^1^SITE||||7^Attending^Alma||||||||||||V-9"
TXA = "TXA|1|PN^Progress Note|TX|202604301000|4^Provider^Paula||||9^Writer^Wim|||D-55|D-54||||AU||AV"


def test_hl7_text_with_its_parts() -> None:
    found = document(
        message(
            PV1, TXA, obx(1, "HPI: pain~for 3 months"), obx(2, ""), obx(3, "Plan: brace"), "NTE|1||as agreed"
        ).encode()
    )
    assert found.text == "HPI: pain\nfor 3 months\n\nPlan: brace\nas agreed\n"
    assert quoted(found) == [
        ("obx", "1", "HPI: pain\nfor 3 months"),
        ("obx", "3", "Plan: brace"),
        ("nte", "1", "as agreed"),
    ]
    assert found.id == "D-55"
    assert found.metadata == Metadata(
        provider="Wim Writer",
        encounter="V-9",
        date="2026-04-30",
        department="SPINE",
        document_type="Progress Note",
        type_code="PN",
        status="AU",
        replaces="D-54",
    )


@pytest.mark.parametrize(
    ("sent", "meant"),
    [
        (r"one\.br\two", "one\ntwo"),
        (r"a\F\b\S\c\T\d\R\e\E\f", r"a|b^c&d~e\f"),
        (r"\H\bold\N\ \.in+4\in", "bold  in"),
        (r"\X3C\ 3 \XB5\g", "< 3 µg"),
        (r"one\.sp2\two", "one\n\ntwo"),
        (r"\E\.br\E\ ", r"\.br" + "\\"),
        (r"C:\temp \Q\ 5\6", r"C:\temp \Q\ 5\6"),
        (r"\Zlocal\x\C2842\\M1B2442\y", "xy"),
        ("L4^L5 a^b", "L4^L5 a^b"),
    ],
)
def test_hl7_escapes(sent: str, meant: str) -> None:
    assert document(message(obx(1, sent, kind="FT")).encode()).text == f"{meant.rstrip()}\n"


def test_hl7_escapes_agree_with_python_hl7() -> None:
    sent = r"a\F\b\S\c\T\d\R\e\E\f\X41\g"
    assert document(message(obx(1, sent)).encode()).text == hl7.parse(message()).unescape(sent) + "\n"


def test_hl7_values_of_other_types() -> None:
    found = document(
        message(
            "OBR|1|||18748-4^Imaging|||20260102|||||||||1^Orders^Olga|||||||||F|||||||2&Reads&Rita",
            obx(1, "Report begins.", name="X^Narrative"),
            "OBX|2|NM|8302-2^Height||177|cm|||||F",
            "OBX|3|CE|Q^Quality||G^Good^L||||||F",
            "OBX|4|ST|R^Remark||as before||||||F",
            obx(5, "withdrawn", status="D"),
            obx(6, "No stenosis.", name="72148&IMP^MRI"),
            obx(7, "Brace.", name="18776-5^any^LN"),
            kind="ORU^R01",
        ).encode()
    )
    assert found.text == (
        "NARRATIVE:\nReport begins.\nHeight: 177 cm\nQuality: Good\nRemark: as before\n\nIMPRESSION:\nNo stenosis.\n\n"
        "PLAN:\nBrace.\n"
    )
    assert (found.id, found.metadata.provider, found.metadata.date) == ("C1", "Rita Reads", "2026-01-02")
    assert (found.metadata.document_type, found.metadata.status) == ("Imaging", "F")


@pytest.mark.parametrize("name", ["text", "rtf", "html", "docx", "pdf", "ccda"])
def test_hl7_that_embeds_a_document(name: str) -> None:
    sent = f"^AP^{name}^Base64^{base64_of(SAMPLES[name])}"
    found = document(message(obx(1, sent, kind="ED")).encode())
    assert found.text == LAXITY
    assert quoted(found)[0] == ("obx", "1", LAXITY.rstrip("\n"))
    assert document(message(obx(1, f"^TX^^Hex^{LAXITY.encode().hex()}", kind="ED")).encode()).text == LAXITY
    assert document(message(obx(1, r"^TX^^A^a\T\b", kind="ED")).encode()).text == "a&b\n"


@pytest.mark.parametrize(
    ("charset", "encoding"),
    [
        ("UNICODE UTF-8", "utf-8"),
        ("8859/1", "cp1252"),
        ("8859/2", "iso8859-2"),
        ("", "utf-8"),
        ("8859/15~ASCII", "iso8859-15"),
    ],
)
def test_hl7_charsets(charset: str, encoding: str) -> None:
    said: list[str] = []
    data = message(obx(1, "Schröder's ligament"), charset=charset).encode(encoding)
    assert document(data, say=said.append).text == "Schröder's ligament\n"
    assert said == []
    assert document(message(obx(1, "the patient’s")).encode("cp1252"), say=said.append).text == "the patient’s\n"
    assert said == ["read as Windows-1252"]


def test_hl7_files_of_many_messages() -> None:
    first, second = message(obx(1, "One."), control_id="A"), message(PV1, control_id="B", kind="ADT^A01")
    third, fourth = message(obx(1, "Three."), control_id="C"), message(control_id="D", kind="MDM^T01")
    data = f"FHS|^~\\&|\rBHS|^~\\&|\r{first}\x0b{second}\x1c\r\n{third}{fourth}BTS|4\rFTS|1\r".encode()
    one, two, three, four = documents(data)
    assert [one, three] == [
        Document("One.\n", "A", Metadata(date="2026-04-30"), one.parts),  # type: ignore[union-attr]
        Document("Three.\n", "C", Metadata(date="2026-04-30"), three.parts),  # type: ignore[union-attr]
    ]
    assert two == RowError("", "n#2", "is ADT^A01, no message that carries a note (MDM^T01 to T11, ORU^R01)")
    assert four == RowError("", "n#4", "MDM^T01 carries no text; it only announces or changes a document")


@pytest.mark.parametrize("end", ["\r", "\n", "\r\n"])
def test_hl7_files_as_they_are_found(end: str) -> None:
    segments = [f"{obx(1, 'a value that runs')}", "over a line end|||", f"{obx(2, 'one line')} {obx(3, 'holds two')}"]
    segments[0] = "OBX|1|TX|||a value that runs"
    found = document(message(TXA, *segments, end=end).encode())
    assert found.text == "a value that runs\nover a line end\none line\nholds two\n"


@pytest.mark.parametrize(
    ("data", "message_"),
    [
        (message(obx(1, "x"), kind="SIU^S12"), "is SIU^S12, no message that carries a note"),
        (message(obx(1, "x"), kind=CANARY), "has no message type"),
        (message(obx(1, "x"), kind="MDM^T12"), "is MDM^T12, no message"),
        (message(obx(1, "^visit.pdf", kind="RP")), "its text is in another file, to which OBX 1 only refers"),
        (message(obx(1, f"^TX^^Base64^{CANARY}!", kind="ED")), "OBX 1: what is embedded is not Base64"),
        (message(obx(1, f"^TX^^Hex^{CANARY}", kind="ED")), "what OBX 1 embeds is not hexadecimal"),
        (message(kind="ORU^R01"), "ORU^R01 carries no text"),
        ("MSH|^~\\&|\r", "has no message type"),
        ("MSH|^\r", "has no message type"),
    ],
)
def test_hl7_that_cannot_be_read(data: str, message_: str) -> None:
    assert refused(data.encode(), "hl7v2").startswith(f"n: {message_}")


def test_hl7_with_other_separators() -> None:
    data = "MSH#*!$%#EHR######MDM*T02#C1#P#2.5\rOBX#1#TX###a!b $T$ c|d##\r"
    assert document(data.encode()).text == "a\nb % c|d\n"


# ── FHIR ────────────────────────────────────────────────────────────────────────────────────────


def test_fhir_document_reference() -> None:
    resource = reference(
        attached(HTML, "text/html"),
        attached("Back pain.", "text/plain; charset=utf-8") | {"title": "Visit"},
        id="r1",
        docStatus="final",
        type={"coding": [{"system": "http://loinc.org", "code": "11506-3", "display": "Progress note"}]},
        date="2026-05-01T10:00:00Z",
        author=[{"reference": "Practitioner/1", "display": "Dr Paula Provider"}],
        custodian={"display": "Spine clinic"},
        relatesTo=[{"code": "replaces", "target": {"reference": "DocumentReference/r0"}}],
        context={"encounter": [{"reference": "Encounter/e1"}], "period": {"start": "2026-04-30T09:00:00+02:00"}},
        unknown_field=CANARY,
    )
    found = document(json.dumps(resource).encode())
    assert (found.text, found.id) == ("Back pain.", "r1")
    assert quoted(found) == [("attachment", "1", "Back pain.")]
    assert found.metadata == Metadata(
        provider="Dr Paula Provider",
        encounter="e1",
        date="2026-04-30",
        department="Spine clinic",
        document_type="Progress note",
        type_code="11506-3",
        status="final",
        replaces="r0",
    )


@pytest.mark.parametrize(
    ("name", "content_type"),
    [
        ("text", "text/plain"),
        ("html", "text/html"),
        ("html", "application/xhtml+xml"),
        ("rtf", "application/rtf"),
        ("pdf", "application/pdf"),
        ("docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
        ("ccda", "application/xml"),
        ("ccda", "text/xml"),
    ],
)
def test_fhir_attachments(name: str, content_type: str) -> None:
    assert document(json.dumps(reference(attached(SAMPLES[name], content_type))).encode()).text == LAXITY


def test_fhir_charset_and_second_choices() -> None:
    latin = reference(attached("Żebro, ucisk łuku.".encode("iso8859-2"), "text/plain;charset=ISO-8859-2"))
    assert document(json.dumps(latin).encode()).text == "Żebro, ucisk łuku."
    second = reference({"contentType": "text/plain", "url": "http://x/1"}, attached(RTF, "text/rtf"))
    assert quoted(document(json.dumps(second).encode())) == [("attachment", "1", LAXITY)]
    fragment = reference(attached("Pain <b>worse</b>", "text/html"))
    assert document(json.dumps(fragment).encode()).text == "Pain worse\n"


def test_fhir_bundle_and_lines() -> None:
    binary = {"resourceType": "Binary", "id": "b1", "contentType": "text/plain", "data": base64_of(b"From a Binary.")}
    bundle = {
        "resourceType": "Bundle",
        "type": "collection",
        "entry": [
            {"resource": {"resourceType": "Patient", "id": "p"}},
            {"resource": reference(attached("One.", "text/plain"), id="r1")},
            {"resource": reference({"contentType": "text/plain", "url": "Binary/b1"}, id="r2")},
            {"resource": reference({"contentType": "text/plain", "url": "Binary/b2"}, id="r3")},
            {"fullUrl": "urn:uuid:1", "resource": binary},
        ],
    }
    one, two, three = documents(json.dumps(bundle, indent=1).encode())
    assert isinstance(one, Document)
    assert isinstance(two, Document)
    assert [(one.id, one.text), (two.id, two.text)] == [("r1", "One."), ("r2", "From a Binary.")]
    assert three == RowError("r3", "n:1", "its text is not inline but at an address, which is not fetched")
    lines = [reference(attached("One.", "text/plain"), id="r1"), {"resourceType": "Patient"}, "bad", bundle]
    data = "\n\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines).encode()
    found = documents(data)
    assert [each.id for each in found] == ["r1", "", "r1", "r2", "r3"]
    assert found[1] == RowError("", "n:5", "is not a FHIR resource: not a JSON object, or nested too deep")


@pytest.mark.parametrize(
    ("resource", "message_"),
    [
        (reference(attached("x", "text/plain"), status="entered-in-error"), "is marked as entered in error"),
        (reference(attached("x", "text/plain"), docStatus="entered-in-error"), "is marked as entered in error"),
        (reference({"contentType": "text/plain"}), "its attachment is empty"),
        (reference({"data": f"{CANARY}!"}), "is no valid DocumentReference of FHIR R4: content.0.attachment"),
        (reference(status=[CANARY]), "is no valid DocumentReference of FHIR R4: "),
        (reference(attached(a_pdf(""), "application/pdf")), "is a PDF without text"),
        (reference(attached(b"\x89PNG\r\n\x1a\n", "image/png")), "is a PNG image, not plain text"),
    ],
)
def test_fhir_that_cannot_be_read(resource: dict[str, Any], message_: str) -> None:
    assert refused(json.dumps(resource).encode()).startswith(f"n: {message_}")


def test_fhir_that_is_hostile() -> None:
    assert "nested too deep" in refused(b'{"resourceType":' + b"[" * 200_000)
    inner = SAMPLES["text"]
    for _ in range(6):
        inner = unstructured(base64_of(inner), 'representation="B64"')
    assert "holds documents inside documents, more than 3 deep" in refused(inner)


def test_fhir_without_a_document_says_so() -> None:
    said: list[str] = []
    assert documents(b'{"resourceType":"Patient"}\n{"resourceType":"Condition"}', say=said.append) == []
    assert said == ["holds no DocumentReference, only other resources"]


# ── parts, and files ────────────────────────────────────────────────────────────────────────────


def test_a_report_tells_where_in_the_file_a_quote_stands(analyzer: Analyzer, tmp_path: Path) -> None:
    text = "Chronic ligamentous laxity.\\.br\\Lumbar spine, since the fall in May."
    lines = [
        "MSH|^~\\&|A|B|C|D|20260430||MDM^T02|7|P|2.5",
        "TXA|1|PN|TX",
        f"OBX|1|TX|a||{text}",
        "OBX|2|FT|b||MRI: normal.",
    ]
    (tmp_path / "note.hl7").write_text("\r".join(lines))
    report = as_dict(analyzer.analyze(read_note(tmp_path / "note.hl7", NoteOptions(codes=("M24.28",)))))
    parts = {part["id"]: part for part in report["parts"]}
    assert [part["kind"] for part in parts.values()] == ["obx", "obx"]
    (region,) = [f for check in report["checks"] for f in check["findings"] if f["id"] == "M24.28/region"]
    (quote,) = region["evidence"]
    assert parts["1"]["start"] <= quote["start"] < quote["end"] <= parts["1"]["end"]
    (mri,) = [mention for mention in report["mentions"] if mention["value"] == "mri"]
    assert (mri["start"] - parts["2"]["start"], mri["text"]) == (0, "MRI")
    plain = as_dict(analyzer.analyze(Note(id="n", text="Neck pain.")))
    assert "parts" not in plain


def test_a_writer_keeps_lines_and_parts() -> None:
    writer = Writer()
    writer.write(" \n ")
    writer.break_line()
    writer.open("obx", id="1")
    writer.open("obx", id="empty")
    writer.close()
    writer.write("one ")
    writer.write(" two")
    writer.end_line()
    writer.close()
    writer.heading("  Plan   of care ")
    writer.write("x")
    found = writer.document("d")
    assert found.text == "one two\n\nPLAN OF CARE:\nx\n"
    assert quoted(found) == [("obx", "1", "one two")]


@pytest.mark.parametrize(
    ("written", "meant"),
    [("20180118111520+0100", "2018-01-18"), ("2018-01-18T11:15", "2018-01-18"), ("2018", ""), ("20181301", "")],
)
def test_days(written: str, meant: str) -> None:
    assert iso_date(written) == meant


def written(folder: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def test_a_file_of_one_note_and_of_many(tmp_path: Path) -> None:
    many = (message(obx(1, "One."), control_id="") + message(obx(1, "Two."), control_id="B")).encode()
    written(tmp_path, {"one.hl7": SAMPLES["hl7v2"], "many.hl7": many})
    (one,) = read_file(tmp_path / "one.hl7", NoteOptions(codes=("M24.28",)))
    assert isinstance(one, Note)
    assert (one.id, one.codes, one.date_of_service) == ("one.hl7", ("M24.28",), "2026-04-30")
    assert [row.id for row in read_file(tmp_path / "many.hl7")] == ["many.hl7#1", "B"]
    with pytest.raises(NoteError, match=r"many\.hl7: holds more than one note; one is read here$"):
        read_note(tmp_path / "many.hl7")


def test_a_folder_mixes_formats_and_one_bad_note_stops_nothing(tmp_path: Path) -> None:
    files = {f"{name}.dat" if name != "text" else "text.txt": data for name, data in SAMPLES.items()}
    files |= {"bad.xml": structured(section("x"))[:-9], "scan.pdf": a_pdf(""), "picture.png": b"\x89PNG\r\n\x1a\n"}
    files |= {"sub/many.ndjson": b"\n".join([SAMPLES["fhir"]] * 2), "notes.md": b"x"}
    files |= {"style.xsl": b"<?xml version='1.0'?><a/>"}
    written(tmp_path, files)
    said: list[tuple[str, str]] = []
    rows = list(read_notes(tmp_path, say=lambda *remark: said.append(remark)))
    notes = [row for row in rows if isinstance(row, Note)]
    assert [note.text for note in notes] == [LAXITY] * 10
    assert [note.id for note in notes][-2:] == ["sub/many.ndjson#1", "sub/many.ndjson#2"]
    errors = {row.id: row.message for row in rows if isinstance(row, RowError)}
    assert set(errors) == {"bad.xml", "scan.pdf"}
    assert errors["scan.pdf"].startswith("is a PDF without text")
    assert [Path(where).name for where, _ in said] == ["notes.md", "picture.png", "style.xsl"]


def test_fhir_lines_stream_through_the_table_reader(tmp_path: Path) -> None:
    bad = b'{"resourceType":"DocumentReference",'
    condition = b'{"resourceType":"Condition"}'
    named = json.dumps(reference(attached("Pain.", "text/plain"), id="r9")).encode()
    path = tmp_path / "a.ndjson"
    path.write_bytes(b"\n".join([SAMPLES["fhir"], condition, bad, named, b'{"text":"t"}']))
    said: list[tuple[str, str]] = []
    rows = list(read_notes(path, say=lambda *remark: said.append(remark)))
    assert [row.id for row in rows] == ["a.ndjson:1", "a.ndjson:3", "r9", "a.ndjson:5"]
    assert [type(row) for row in rows] == [Note, RowError, Note, Note]
    assert said == [("a.ndjson:2", "holds no DocumentReference, only other resources")]


def test_standard_input_in_a_format_that_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(SAMPLES["rtf"])))
    assert list(read_notes("-", NoteOptions(input_format="rtf"))) == [Note(id="stdin", text=LAXITY)]


# ── what others published ───────────────────────────────────────────────────────────────────────

# Why some files give no note: they hold none.
WITHOUT_A_NOTE = {
    "CDA_reference_PDF__Unstructured_Document_reference.xml": "its text is in another file",
    "Kinsights_Samples__kinsights-sample-timmy.xml": "no section of it has a narrative",
    "nodehl7__adt-example.hl7": "is ADT^A01",
    "nodehl7__oru-example.hl7": "ORU^R01 carries no text",
}


def published(*patterns: str) -> list[Any]:
    found = [path for pattern in patterns for path in sorted(INTERFACE.glob(pattern))]
    absent = pytest.param(None, marks=pytest.mark.skip(reason="../shared/interface is not there"))
    return [pytest.param(path, id=path.name) for path in found] or [absent]


@pytest.mark.parametrize("path", published("ccda/*/*.xml", "hl7v2/*.hl7"))
def test_published_files_go_through(path: Path) -> None:
    if path.name in WITHOUT_A_NOTE:
        assert refused(path.read_bytes()).startswith(f"n: {WITHOUT_A_NOTE[path.name]}")
        return
    found = document(path.read_bytes())
    assert found.parts
    starts = [part.start for part in found.parts]
    assert starts == sorted(starts)
    assert all(found.text[part.start : part.end].strip() for part in found.parts)
    assert "<content" not in found.text


@pytest.mark.parametrize("path", published("ccda/*/*.xml"))
def test_no_word_of_a_published_narrative_is_lost(path: Path) -> None:
    from lxml import etree

    if path.name in WITHOUT_A_NOTE:
        return
    root = etree.parse(path).getroot()
    texts = [
        text for each in root.iter("{*}section") if not each.get("nullFlavor") for text in each.iterchildren("{*}text")
    ]
    if not texts:
        return  # an embedded document
    words = " ".join("".join(f" {piece} " for piece in text.itertext(with_tail=False)) for text in texts).split()
    left = iter(document(path.read_bytes()).text.replace(":", " ").replace("|", " ").split())
    kept = "".join(left)
    at = 0
    for word in (word.replace(":", "").replace("|", "") for word in words):
        found = kept.find(word, at)
        assert found >= 0, "a word is not there, or not in its place"
        at = found + len(word)


@pytest.mark.parametrize("path", published("fhir/bulk_10_patients/DocumentReference.000.ndjson"))
def test_the_published_bulk_export_goes_through(path: Path) -> None:
    rows = list(read_notes(path))
    expected = [json.loads(line) for line in path.read_text().splitlines()]
    assert [row.id for row in rows] == [resource["id"] for resource in expected]
    for row, resource in zip(rows, expected, strict=True):
        assert isinstance(row, Note)
        assert row.text == base64.b64decode(resource["content"][0]["attachment"]["data"]).decode()
        assert row.date_of_service == resource["context"]["period"]["start"][:10]


@pytest.mark.parametrize("charset", ["BASE64", "undefined", "idna", "no such"])
def test_what_is_no_encoding_of_text_is_none(charset: str) -> None:
    assert decode(b"Lax \xe9.", where="n", charset=charset) == "Lax é."


@pytest.mark.parametrize(("charset", "data"), [("utf-16", b"\xe9"), ("punycode", b"-\xe9")])
def test_what_is_not_in_the_encoding_that_was_declared(charset: str, data: bytes) -> None:
    with pytest.raises(NoteError, match=f"^n: is not {charset}, as it says it is"):
        decode(data, where="n", charset=charset)
