"""What a request of /v1 asks: the contract's note (contract/REPORT.md), and what is wanted of it."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from notegap.icd10cm import normalize
from notegap.model import Note, Setting
from notegap.service.texts import refuse_halves, refuse_unreadable

# What notes.text.says_nothing looks for, said in the OpenAPI document: a character that is neither white space, nor a
# control, nor one of those nobody sees. Beyond the first plane regular expressions differ in how a character is
# written, so it stands as it is.
_SEEN = (
    r"[^\u0000-\u0020\u007f-\u00a0\u00ad\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u1680\u180e\u2000-\u200f"
    r"\u2028-\u202f\u205f-\u206f\u3000\ufeff\ufff9-\ufffb"
    "\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0001\U000e0020-\U000e007f]"
)

CODE = r"^(?=.*[0-9]) *[A-Za-z][0-9AOILaoil][0-9A-Za-z](\.?[0-9A-Za-z]{1,4})?\.*[-_]* *$"
"""What is shaped like an ICD-10-CM code, dotted or not, in any case. It need not exist."""

NOTE = (
    "HPI: 52-year-old with neck pain for a year, no injury. MRI cervical spine: laxity of the interspinous ligament at "
    "C5-6. Six weeks of physical therapy did not help. Assessment: ligamentous laxity of the cervical spine."
)
"""The note that the document shows as an example."""


def _day(value: str) -> str:
    return date.fromisoformat(value).isoformat()


Code = Annotated[str, Field(pattern=CODE, max_length=20)]
Day = Annotated[
    str, Field(pattern=r"^[12][0-9]{3}-[0-9]{2}-[0-9]{2}$", json_schema_extra={"format": "date"}), AfterValidator(_day)
]


class AskedNote(BaseModel):
    """A note, and the codes it is to support. Fields that are not named here are left alone."""

    # Lookahead is not in pydantic's own regular expressions.
    model_config = ConfigDict(
        extra="ignore",
        hide_input_in_errors=True,
        regex_engine="python-re",
        json_schema_extra={
            "examples": [{"id": "visit-1", "text": NOTE, "codes": ["M24.28"], "date_of_service": "2026-04-30"}]
        },
    )

    id: str = Field(default="note", max_length=1_000, description="Your own name for the note, given back untouched.")
    text: str = Field(
        repr=False,
        json_schema_extra={"minLength": 1, "pattern": _SEEN},
        description="The note. Offsets in the answer count its characters (Unicode code points).",
    )
    codes: list[Code] | None = Field(
        default=None,
        max_length=100,
        description="ICD-10-CM codes to check, dotted or not, in any case. None: the codes written in the note, else "
        "those its facts point to.",
    )
    code: Code | None = Field(default=None, description="One code, for those who have one; it is added to `codes`.")
    claim_codes: list[Code] | None = Field(
        default=None,
        max_length=100,
        description="The codes of the claim in their order; sequencing and Excludes notes are checked against them.",
    )
    setting: Setting = Field(
        default=Setting.OUTPATIENT,
        description="Where the note was written: an uncertain diagnosis counts for inpatients.",
    )
    date_of_service: Day | None = None


class AskedQuery(AskedNote):
    """A note whose open items are to be asked of its provider."""

    format: Literal["json", "text", "markdown", "fhir"] = Field(
        default="json", description="`fhir` is an R4 Questionnaire."
    )
    all: bool = Field(default=False, strict=True, description="Every query, not only the three that matter most.")


def note_of(asked: AskedNote, *, max_bytes: int) -> Note:
    """The note that was sent. Raises NoteError when it is longer than allowed, half a character or empty."""
    refuse_unreadable(asked.text, max_bytes=max_bytes)
    refuse_halves(asked.id, "`id`")
    return Note(
        id=asked.id,
        text=asked.text,
        codes=(*(asked.codes or ()), *((asked.code,) if asked.code is not None else ())),
        claim_codes=None if asked.claim_codes is None else tuple(map(normalize, asked.claim_codes)),
        setting=asked.setting,
        date_of_service=asked.date_of_service,
    )
