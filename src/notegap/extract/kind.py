"""What kind of note it is, as far as reading needs it: operative, a radiology report, or neither."""

from __future__ import annotations

import re
from dataclasses import dataclass

from notegap.extract.boundaries import Layout

_OPERATIVE = frozenset({"preop_diagnosis", "postop_diagnosis", "operation"})
_STUDY = re.compile(
    r"\b(?P<flex>flexion|dynamic|flex-?ex)|\b(?P<mri>mri|mr|magnetic)\b|\b(?P<ct>ct|cat|computed)\b|\b(?P<xray>x-?rays?|radiographs?|views?|films?|xr)\b"
    r"|\b(?P<bone_scan>bone scan|scintigra\w*|spect)\b|\b(?P<dexa>dexa|dxa)\b|\b(?P<myelogram>myelogra\w*)\b|\b(?P<pet>pet)\b",
)
_ENCOUNTER = re.compile(
    r"\b(?:year[- ]old|y/?o|he|she|complain\w*|presents?|follow[- ]?up|ordered|prescri\w+|i (?:saw|have|reviewed|told|spoke)|we (?:discussed|will)|tried|continue)\b",
)
"""Words of a visit: a radiologist writes none of them."""
_REPORT_WORDS = re.compile(
    r"\b(?:technique|comparison|sequences|findings|impression|opinion|conclusion|axial|sagittal)\b"
)


@dataclass(frozen=True, slots=True)
class Kind:
    """`study` is the modality a radiology report reports, "" when the note is none."""

    operative: bool
    study: str


def kind_of(text: str, layout: Layout) -> Kind:
    """The kind of the note with this plain text and layout."""
    sections = {h.section for h in layout.headings if h.known}
    operative = bool(sections & _OPERATIVE) or ("procedure" in sections and "anesthesia" in sections)
    head = text[:240]
    study = ""
    match = _STUDY.search(head)
    title = next((line for line in text.splitlines() if line.strip()), "")
    # "MRI SACRUM" over a report: its "History:" is the indication.
    titled = len(title) <= 70 and _STUDY.search(title) is not None and not re.search(r"[.?!]\s*\S", title)
    clinical = sections & {"hpi", "plan", "assessment_plan", "exam", "chief_complaint", "past_medical", "medications"}
    if titled and clinical <= {"hpi", "chief_complaint"} and len(_REPORT_WORDS.findall(text)) >= 1:
        clinical = set()
    if match and not operative and not clinical:
        lead = text.lstrip()[: max(0, match.start()) + 60]
        if (
            len(_REPORT_WORDS.findall(text)) >= 2
            or len(lead) < 120
            or (len(text) < 700 and not _ENCOUNTER.search(text))
        ):
            study = {"flex": "flexion_extension_xray"}.get(match.lastgroup or "", match.lastgroup or "")
    return Kind(operative, study)
