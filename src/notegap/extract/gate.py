"""The gate: words that any bone, joint or vessel can share ("stenosis", "osteophyte", "the ligament") are believed only
where the note speaks of the spine.

A sentence that names a place decides for itself. One that names none goes by the place named last before it in its
section, and where there is none by what the whole note speaks of.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from notegap.extract.boundaries import Layout
from notegap.extract.pipeline import Raw

# Findings of the spine only when the spine is spoken of.
_SHARED = frozenset(
    f"finding/{value}"
    for value in (
        "canal_stenosis", "foraminal_stenosis", "osteophyte", "fracture", "compression_fracture", "subluxation", "dislocation",
        "instability", "mass", "bone_erosion", "marrow_signal_change", "destructive_lesion", "fluid_collection", "osteomyelitis",
        "spondylosis", "ligament_tear", "ligament_laxity", "ligament_hypertrophy", "ligament_signal_change", "ligament_degeneration",
        "ligament_ossification", "ankylosis", "pseudarthrosis", "hemangioma", "enthesopathy", "nerve_root_compression",
        "disc_displacement", "surgical_fusion",
    )
) | {
    "ligament/unspecified", "ligament/facet_capsule",
    "surgery/fusion", "surgery/decompression", "surgery/instrumentation", "surgery/hardware_removal",
}  # fmt: skip
# Operations that any bone can have: claimed by another part of the body unless the note is about the spine throughout.
_OPERATIONS = frozenset(
    {
        "finding/surgical_fusion",
        "surgery/fusion",
        "surgery/decompression",
        "surgery/instrumentation",
        "surgery/hardware_removal",
    }
)
_UNNAMED = re.compile(r"^(?:\w+ )*(?:surger(?:y|ies)|operations?|(?:surgical|operative) \w+)$")
# ... and those that another part of the body in the same sentence claims ("fracture of the wrist").
_CLAIMED = frozenset(
    f"finding/{value}"
    for value in (
        "fracture", "dislocation", "subluxation", "mass", "bone_erosion", "osteophyte", "marrow_signal_change",
        "destructive_lesion", "fluid_collection", "osteomyelitis", "ligament_tear", "ligament_laxity", "ligament_signal_change",
    )
) | {"ligament/unspecified", "mechanism/postsurgical"}  # fmt: skip
# What brings a spinal disorder about; in a note that nowhere speaks of the spine it brought about something else.
_CAUSES = frozenset(
    f"mechanism/{value}"
    for value in ("degenerative", "congenital", "postsurgical", "inflammatory", "infectious", "neoplastic", "metabolic")
)
_OWN_WORDS = re.compile(
    r"dis[ck]|spin|spond|verteb|cervic|lumb|thorac|sacr|foramin|foramen|thecal|root|facet|flav|\bcord\b|\b[clts]-?\d|burst|wedg|chance|endplate|kypho|scolio|lamin|pedic|interbody|corpect|uncinate|lateral mass|\b(?:acdf|[tpaxlo]lif|accf|pcdf|acd)s?\b",
)
_SPINAL_PARTS = frozenset(
    {
        "thecal_sac", "lateral_recess", "disc_space", "facet", "vertebra", "vertebral_height", "pars", "odontoid", "endplate",
        "cord", "cauda_equina", "nerve_root", "lordosis", "kyphosis", "spine", "sacroiliac_joint", "motion_segment", "uncovertebral",
    }
)  # fmt: skip
PLACED_PARTS = _SPINAL_PARTS | {"disc", "canal", "foramen"}
"""Parts that may name the spine beside another place in their own sentence; alone, an ear has a canal and an implant a disc."""
_SPINAL_FINDINGS = frozenset(
    {
        "spondylolisthesis", "spondylolysis", "facet_arthropathy", "schmorl_node", "scoliosis", "disc_degeneration", "annular_tear",
        "transitional_vertebra", "cord_compression", "cord_signal_change", "lateral_recess_stenosis", "discitis", "sacroiliitis",
    }
)  # fmt: skip
_SPINE_WORDS = re.compile(
    r"\b(?:spin(?:e|es|al)|back (?:pain|ache|surgery|problems?|injur\w+)|backache|(?:her|his|my|the) back|^\W*back(?=\W*$)|vertebra\w*|epidural|laminectom\w+|laminotom\w+|"
    r"discectom\w+|diskectom\w+|radiculopath\w+|sciatica|myelopath\w+|spinous|paraspin\w+)\b",
)
# Places that no spinal finding has, beyond those patterns/concepts/part.yaml lists.
_OTHER_WORDS = re.compile(
    r"\b(?:stent\w*|angioplast\w+|angiogra\w+|arteriogra\w+|aortogram|catheteri[sz]ation|occlusion|plaque|lad|rca|pda|om branch|obtuse marginal|circumflex|ejection fraction|graft patency|fistula|"
    r"venous|artery|arteries|vessel|valve|pulmonary|bronch\w+|trache\w+|airway|vocal cords?|uter\w+|ovar\w+|fallopian|tubal|peritone\w+|parametri\w+|inguinal|hernia|camper'?s|"
    r"rotator|cuff|bursa\w*|labr\w+|acromi\w+|supraspinatus|tenodesis|tuberosity|synchondros[ie]s|glenohumeral|tendons?|tendinosis|plantar|calcane\w+|talar|talus|carpal|lunate|scaphoid|"
    r"capitate|hamate|metacarp\w+|midcarpal|druj|volar|median nerve|ulnar|cubital|radius|radial|distal phal\w+|tourniquet|esmarch|meniscus|menisci|meniscal|patell\w+|tibia\w*|femor\w+|tricompartmental|"
    r"condyle\w*|epicondyl\w+|olecranon|hallux|metatars\w+|bunion|ankles?|knees?|wrists?|elbows?|shoulders?|hips?|pinna|tympanic|ears?|nasal|sinus|teeth|tooth|dental|mandib\w+|maxill\w+)\b",
)
# "Long segment stenosis", "left vertebral 0.55 m/s": vessels have those too.
_SEGMENT = re.compile(r"^(?:segments?|vertebrals?)$")
# Places that a drug or therapy is prescribed for alone; a hip or a belly that aches may ache with the back.
_TREATED = re.compile(
    r"\b(?:knees?|patell\w+|menisc\w+|shoulders?|rotator|elbows?|wrists?|thumbs?|fingers?|hands?|ankles?|foot|feet|heels?|plantar|tooth|teeth|dental|jaw|ears?|sinus(?:es)?)\b",
)
REACH = 6
"""How many sentences back a place named still counts."""
SHORT = 40
"""A note of fewer words that names no place at all is taken at its word."""


class Gate:
    """Where one note speaks of the spine: `closed(raw)` for what is not to be believed."""

    def __init__(self, text: str, spans: Sequence[Raw], layout: Layout, *, spinal_study: bool) -> None:
        self._text = text
        self.placed, self.other = _sentences(text, spans, layout)
        self._layout = layout
        self._study = spinal_study
        spoken = len(self.placed)
        elsewhere = len(self.other - self.placed)
        self._all_spine = spinal_study or spoken > 2 * elsewhere
        self._no_spine = not spoken and (elsewhere > 0 or len(text.split()) > SHORT)
        self._mostly_elsewhere = elsewhere > 3 * spoken
        claimed = {r.sentence for r in spans if r.key.startswith("part/other_")}
        named = {
            r.sentence
            for r in spans
            if r.concept in ("region", "level", "ligament") or (r.concept == "part" and r.value in PLACED_PARTS)
        }
        self.claimed = frozenset(claimed - named)

    def closed(self, raw: Raw, start: int, end: int) -> bool:
        """Whether what `raw` says, in the words from `start` to `end`, belongs to another part of the body."""
        if raw.key in _CLAIMED and raw.sentence in self.claimed:
            return True
        if self._no_spine and (raw.concept == "imaging" or raw.key in _CAUSES):
            return True
        if (
            unnamed(raw.key, self._text[start:end])
            and not self._study
            and (raw.sentence in self.other or raw.sentence not in self.placed)
        ):
            return True
        if (
            raw.key in _OPERATIONS
            and raw.sentence in self.claimed
            and not self._all_spine
            and not _OWN_WORDS.search(self._text[start:end])
        ):
            return True
        if (
            raw.key not in _SHARED
            or (self._all_spine and not self._no_spine)
            or _OWN_WORDS.search(self._text[start:end])
        ):
            return False
        if self._no_spine:
            return True
        if raw.sentence in self.other:
            return self._mostly_elsewhere and raw.sentence not in self.placed
        if raw.sentence in self.placed:
            return False
        return self.astray(raw.sentence)

    def astray(self, number: int) -> bool:
        """Whether a sentence that names no place follows one that speaks of another part of the body."""
        sentences = self._layout.sentences
        for before in range(number - 1, max(-1, number - 1 - REACH), -1):
            if sentences[before].section != sentences[number].section:
                break
            if before in self.placed:
                return False
            if before in self.other:
                return True
        return self._mostly_elsewhere

    def astray_plan(self, number: int) -> bool:
        """Whether what is planned in sentence `number` is for another part of the body: the words before it speak of one."""
        if self._all_spine:
            return False
        sentences = self._layout.sentences
        for near in range(number, max(-1, number - 1 - REACH), -1):
            if near in self.placed or sentences[near].section != sentences[number].section:
                return False
            if near in self.other:
                return bool(_TREATED.search(self._text[sentences[near].start : sentences[near].end]))
        return False

    def elsewhere(self, number: int) -> bool:
        """Whether a study named in sentence `number` is one of another part of the body: the sentences about it say so."""
        if self._all_spine or number in self.placed:
            return False
        sentences = self._layout.sentences
        for near in (number + 1, number + 2, number - 1):
            if not 0 <= near < len(sentences) or sentences[near].section != sentences[number].section:
                continue
            if near in self.placed:
                return False
            if near in self.other:
                return True
        return self._mostly_elsewhere


def unnamed(key: str, words: str) -> bool:
    """Whether `words` say that there was an operation, and neither which nor where."""
    return (
        key == "surgery/other" and bool(_UNNAMED.match(words)) and not _OWN_WORDS.search(words) and "back" not in words
    )


def _sentences(text: str, spans: Sequence[Raw], layout: Layout) -> tuple[frozenset[int], frozenset[int]]:
    """(the sentences that name a place of the spine, those that name another)."""
    spine = {
        r.sentence
        for r in spans
        if r.concept in ("region", "level")
        or (r.concept == "ligament" and r.value not in ("unspecified", "facet_capsule"))
        or (r.concept == "part" and r.value in _SPINAL_PARTS and not _SEGMENT.search(text[r.start : r.end]))
        or (r.concept == "finding" and r.value in _SPINAL_FINDINGS)
    }
    other = {
        r.sentence
        for r in spans
        if r.key.startswith("part/other_") or r.concept in ("extraspinal", "other_finding", "not_spinal")
    }
    for number, sentence in enumerate(layout.sentences):
        words = text[sentence.start : sentence.end]
        if number not in spine and _SPINE_WORDS.search(words):
            spine.add(number)
        if number not in other and _OTHER_WORDS.search(words):
            other.add(number)
    # An implant and an eye have a disc too.
    spine |= {r.sentence for r in spans if r.key == "part/disc"} - other
    return frozenset(spine), frozenset(other)
