"""Assertion: how each span stands, from the cues that reach it, its section and the kind of note.

ConText says which cues reach a span within its sentence; here a cue that crosses the clause it belongs to is dropped
("no fracture, osteoporosis noted"), the strongest that is left decides, and where none is left the section does.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Mapping, Sequence

from notegap.extract.boundaries import Sentence
from notegap.extract.pairs import is_sign, leads
from notegap.extract.pipeline import Raw, Reach
from notegap.model import Assertion

_VERB = re.compile(
    r"\b(?:is|are|was|were|has|have|had|shows?|showed|demonstrates?|reveals?|revealed|noted|present|seen|remains?|persists?|reports?|complains?|admits|"
    r"suggests?|measures?|consistent|includ(?:es?|ing))\b",
)
_LIST_WORD = re.compile(r"\b(?:or|nor|any)\b")
_NEW_SUBJECT = re.compile(
    r",\s+(?:and|but|with|while|then|so)?\s*(?:he|she|they|patient|the\s+patient|there|it|this|these|i|we|his|her|pain|mri|ct|x-?rays?|exam|positive|mild|moderate|severe|known|chronic|stable)\b",
)
# "No loosening, solid fusion": what is well is told anew, unless the word before the comma goes with it ("no mature, solid fusion").
_WELL = re.compile(
    r"(?:,\s+(?:and\s+|with\s+)?|\s(?:and|with)\s+)(?:an?\s+|the\s+)?(?:solid|intact|good|well|excellent|satisfactory|maintained|preserved|anatomic|mature)\b(?!\s+or\b)"
    # "no fracture, hardware intact"
    r"|,\s+(?:and\s+)?(?:[\w-]+\s+){1,3}?(?:(?:is|are|appears?|remains?)\s+)?(?:intact|solid|maintained|in\s+(?:good|satisfactory|place|position))\b",
)
_GOES_WITH_IT = re.compile(
    r"(?:^|\b(?:mature|definite|good|clear|convincing|complete|obvious|robust|bony|osseous|continuous|evidence|sign|signs)\b)\s*$",
)
# "He suggested that the MRI revealed a slip": what a study has shown is not what was suggested.
_SEES = re.compile(
    r"(?:\S+\s+){2,}\S*(?<!will )(?<!may )(?<!might )(?<!could )(?<!would )(?<!to )\b(?:reveal(?:s|ed|ing)?|show(?:s|ed|ing)?|demonstrat(?:e|es|ed|ing))\b"
)
# "No marrow edema, mostly an old fracture"
_MOSTLY = re.compile(r",\s+(?:mostly|most likely|probably|presumably|suggestive of)\s")
# "A history of cancer and the last bone scan was negative": what is negative has its own name.
_OWN_SUBJECT = re.compile(r"\band\s+(?:the|his|her|an?|most recent|recent|repeat)\s+(?:[\w-]+\s+){1,5}?$")
_ONE_WAS = re.compile(r"(?:is|was|has been)\b|neg")
_POSITIVE = re.compile(r"(?:(?:is|was|are|were)\s+)?(?:positive|pos|present)")
# "history of fusion, with pain ever since"
_COMES_WITH = re.compile(r",\s+(?:now\s+)?with\b")
# What stands after the comma is no longer past, unless the list goes on: "s/p laminectomy, L3 fracture".
_STATUS_POST = re.compile(r"s/p|status post")
_LIST_GOES_ON = re.compile(r"\s*,?\s+(?:and|or)\b")
# "Without any fall and past history of melanoma": the history is there.
_AND_HISTORY = re.compile(
    r"\b(?:and|but|with)\s+(?:(?:an?|the|his|her|past|prior|previous|long|longstanding|strong|remote|known|positive|significant)\s+)*(?:history|hx|h/o)\b",
)
# "Her daughter states that he has ...": a relative who tells of the patient.
_TOLD_BY = re.compile(
    r"^\W*(?:'s\s)?(?:who |also |both |present |today )*(?:reports?|reported|states?|stated|says?|said|spoke|notes?|noted|noticed|confirms?|confirmed|feels?|thinks?|believes?|asks?|asked|called"
    r"|brought|accompan\w+|is (?:here|present)|was present|helps?|helped)\b|\b(?:that|and|but)\s+(?:s?he|the patient|patient)\b",
)
# The next item of a list within a line: 1) esophagitis 2) hernia.
_NEXT_ITEM = re.compile(r"(?:^|\s)\(?\d{1,2}\)\s")

# Infections that do not pass.
_LASTING = re.compile(r"\b(?:hiv|aids|hcv|hepatitis|immunodeficiency|leprosy|post[- ]?polio)\b")
# Said of an event, "history of" puts it in the past; said of a lasting condition it does not (LABELS 20).
_EVENTS = frozenset(
    {
        "finding/fracture", "finding/compression_fracture", "finding/ligament_tear", "finding/dislocation", "finding/discitis",
        "finding/osteomyelitis", "finding/fluid_collection", "disease/malignancy", "disease/lymphoma", "disease/multiple_myeloma",
        "disease/tuberculosis", "disease/brucellosis", "disease/typhoid", "disease/other_infection", "neuro/cauda_equina",
    }
)  # fmt: skip
_GONE = re.compile(r"\b(?:resolved|healed|cured|used to|cleared|subsided|gone|disappeared)\b")
_TOLD = frozenset(
    {"hpi", "past_medical", "chief_complaint", "ros", "social_history", "course", "medications", "treatment"}
)
_DONE = re.compile(
    r"^(?:was |were |being |been )?(?:prescribed|rx'd|rxed|started|ordered|given|recommended|referred|requested|offered|(?:with )?\S+ refills?|disp\w*)",
)
_RESULT_AFTER = re.compile(
    r"^(?:\s?scans?|\s?films?|\s?studies|\s?images|\s?reports?|\s?results?|\s?findings?|\s?of the [a-z ]{3,24}?|\s?done|\s?today|\s?obtained|\s?from [\w/, ]{3,20})*,?\s*(?:today\s)?(?:(?:did|does|do)(?: not|n't)?\s)?"
    r"(?:show|reveal|demonstrat|findings|results|was normal|were normal|is normal|unremarkable|was read|were read|read as|report(?:ed)? (?:as|show)|confirm|suggest|negative|was negative|were negative|was unremarkable|were unremarkable|(?:was|were) reviewed)",
)
_RESULT_BEFORE = re.compile(
    r"\b(?:review(?:ed|ing)?(?: of)?|on|per|by|following|recent|(?:results?|reports?|copy|copies) (?:of|from)|examination and)\s+(?:(?:the|his|her|their|outside|recent|prior|patient's|today's|own|a|lumbar|cervical|thoracic)\s+)*$",
)
# A study that is still awaited has shown nothing, whatever "results" follow it.
_NOT_YET = re.compile(
    r"\b(?:once|until|when|after) (?:we|he|she|i|they) (?:have |has )?(?:obtain\w*|have|has|get|gets|receives?)\b[^.;]{0,20}$",
)
# "We looked, to make sure there were no fragments" says why, not what was seen.
_MADE_SURE = re.compile(r"\b(?:sure|certain|ensur\w+|confirm)\b.*\b(?:was|were|had|did)\b")
_NONE_FOUND = re.compile(r"[^.;\n]{0,40}\b(?:none (?:was|were)|and there (?:was|were) (?:none|no)|nothing was)\b")
_IF = re.compile(r"^(?:if|unless|in case(?: of)?)$")
# "He ordered an MRI of her back": told of someone else, the study has been done since.
_ORDERED_BY = re.compile(
    r"\b(?:s?he|they|dr\.? \w+|doctor|physician|chiropractor|provider|surgeon|pcp|neurologist|\w+iatrist|specialist) (?:then |also |had |has )?ordered (?:(?:an?|the|some|new|another|plain|her|his)\s+){0,2}(?:\w+\s+){0,2}$"
    r"|\b(?:i|we|s?he|they|dr\.? \w+) (?:had |has |have )?(?:referred|sent) (?:him|her|the patient) (?:for|to (?:obtain|get|have)) (?:(?:an?|the|some|new|another|plain)\s+)?(?:\w+\s+){0,2}$",
)
# What is to be had is the paper, not the study: "we will obtain the report of her MRI".
_PAPER = re.compile(r"\b(?:reports?|results?|cop(?:y|ies)|records?|update|readings?)\b")
_AWAITED = re.compile(
    r"\b(?:pending|until|once|awaiting|await|waiting for|before|when we (?:have|get|obtain))\b[^.;]{0,30}$",
)
# "X-rays of the lumbar spine ordered." Not "ordered by her doctor, which showed".
_TO_COME = re.compile(
    r"[^.;:,\n]{0,60}?(?<!not )\b(?:ordered|requested|scheduled|recommended|arranged|booked|advised|pending|awaited|to be (?:done|obtained|ordered|scheduled))"
    r"(?:\s+(?:today|now|asap|stat|next|for|to|with|this|prior|before|w/)\b[^.;\n]*)?\s*(?:[.;,\n)]|$)",
)
# "Get an EMG and an MRI of the neck": an order begins with its verb.
_ORDER = re.compile(
    r"(?:^|[.;:\n]\s*|^\W*\d{1,2}[.)]\s*|[-*]\s+|,\s*(?:and |then )?|\b(?:please|then)\s+)(?:get|obtain|check|pursue|send for|set up)\s+(?:(?:an?|the|her|his|new|some|updated|plain|flexion|extension|upright|standing|lumbar|cervical|thoracic|repeat|stat)[\s/-]+)*"
    r"(?:[\w/-]+(?:\s+[\w/-]+)?\s*(?:,|and|&|\+|,\s*and)\s*(?:(?:an?|the|new|some|plain)\s+)?(?:(?:lumbar|cervical|thoracic|flexion|extension)[\s/-]+)*)?$",
)
_LISTED = re.compile(r"\b(?:or|nor)\s+(?:any\s+)?$")
# "Repeat MRI in six weeks"
_IN_WEEKS = re.compile(
    r"(?:\s+of the [a-z ]{3,25}?)?\s+in\s+(?:(?:about|approximately|another|the next)\s+)?(?:\d{1,2}|an?|one|two|three|four|six|eight|twelve)(?:\s*(?:-|to|or)\s*\w+)?\s+(?:days?|weeks?|wks?|months?|years?)\b(?! of)",
)
_WAS_DONE = re.compile(r"\b(?:had|has|have|underwent|was|were|got|received|obtained)\b[^.;\n]{0,40}$")
_SHOWED = re.compile(r"\b(?:show\w*|reveal\w*|demonstrat\w+|results?|findings?|report)\b")
# A treatment told of as gone through or going on, in a plan too.
_TRIED = re.compile(
    r"\b(?:(?:is|was|are|were|been|remains?|stays?) (?:already |currently |still |now )?(?:on|taking|using|wearing)|since (?:her|his|the|that|this|their)|tolerated (?:by|with)|"
    r"(?:relief|benefitt?ed) (?:from|with)|help(?:ed|s)? (?:by|with)|improv\w+ (?:\w+ )?with|(?:he|she|they|patient|pt|has|have|had) (?:wore|worn|took|taken|used|finished|went through|attended)|respon\w+ (?:\w+ )?to|failed|tried|despite|which (?:have |has )?included?)\b[^.;]{0,40}$",
)
# "No injury that could explain X", "no falls which would contribute to X": only what comes before "that" is denied.
_RELATIVE = re.compile(
    r"\b(?:that|which|who|to)\s+(?:(?:would|could|might|may|can|will|has|have|had|possibly)\s+)*(?:been\s+)?(?:explain|account|contribut|cause|caus|lead|led|produce|result|bring|trigger|precipitat|provok|worsen|aggravat)\w*",
)
# "There has been no accident and I consider this ...": a clause with a subject of its own, without a comma.
_NEXT_CLAUSE = re.compile(
    r"\b(?:and|but|so)\s+(?:i|we|he|she|they)\s+(?:(?!or\b|nor\b)\w+)",
)
_NEXT_ACT = re.compile(r"\band\s+(?:to|then|also|i|we)\b")
_ASIDE = re.compile(
    r",\s*(?:however|though|in fact|of note|again|at this time|at present|currently|today|otherwise)\s*,"
)
# "No change in bladder function" denies a symptom, where "no change" elsewhere denies nothing.
_CHANGE = re.compile(r"^changes?\b")
_NO_CHANGE = re.compile(r"\b(?:no|without|any|denies|denied)\s+(?:(?:new|recent|significant|acute|other|any)\s+)*$")
# A form's answer: "Fracture: N", "numbness - denies", "Listhesis: yes".
_ANSWERED = re.compile(
    r"\s*(?:[:=?]|\s-)[\s,]*(?:(?P<no>no|none|nil|n|neg(?:ative)?|absent|denie[sd])|(?P<yes>yes|y|pos(?:itive)?|present))\s*(?=[.,;\n|/]|\s{2}|$)",
)
_ABSENT = re.compile(r"\babsent$")
_PRESENT = re.compile(r"\b(?:is|are|has|presents?|now|today|will|reports?|shows?|complains?)\b")
# An operation someone has come for has not been done yet.
_COME_FOR = re.compile(
    r"\b(?:come|comes|coming|presents?|presenting|admitted|here|brought|desires?|elects?|elected|agree[sd]?|wish(?:es|ed)?)\b[^.;\n]{0,40}\b(?:for|to have|to undergo)\b[^.;,\n]{0,40}$",
)
# "She could not swing a club before her rhizotomy."
_TOLD_OF = re.compile(
    r"\b(?:was|were|had|did|could)\b[^.;\n]{0,80}\b(?:before|prior to|after|following) (?:her|his|their) (?:\w+ ){0,2}$",
)
# What must not be taken tells of an allergy, not of a treatment.
_AVERSE = re.compile(
    r"\b(?:allerg(?:y|ies|ic)|intoleran(?:t|ce)|(?:hyper)?sensitiv(?:e|ity|ities)|(?:adverse |allergic )?reactions?|anaphyla\w+)\s+(?:to|of|with|includ\w+)\b[^.;\n]{0,60}$|\ballergies\b[^.;\n]{0,40}$",
)
# ... up to what is taken all the same: "allergic to codeine and takes tramadol".
_TAKES = re.compile(
    r"\b(?:and|but|so)\s+(?:(?:he|she|is|has|been|now|currently|only)\s+)*(?:takes?|taking|uses?|using|on|tolerates?|tolerating)\b"
)
_SUPPOSED = re.compile(r"\b(?:if|unless|until|should|once|whether)\b")
_REASON = re.compile(r"\bfor (?:\w+ ){0,3}$")
_TOOL = re.compile(r"\b(?:is|are|was|were|be|been|being|then|and|which)\s+$")
_OLD = re.compile(r"^(?:old|remote|prior|previous|former|chronic)$")
_SEEN = re.compile(
    r"\b(?:seen|noted|shows?|showed|demonstrat\w+|reveals?|revealed|there (?:is|are)|visuali[sz]ed|present|identified|evidence|appears?|unchanged|stable|again|still)\b",
)
_FRACTURES = frozenset({"finding/fracture", "finding/compression_fracture"})
_REPORT_SECTIONS = frozenset({"imaging", "impression", "technique", "exam_study"})
_MAY = re.compile(r"^(?:may|might|could)\b")
_POST = re.compile(r"^(?:post|failed|previous|prior|s/p|status post)\b")
_HAPPENED = frozenset({"mechanism/traumatic"})
"""Mechanisms that a note denies of the patient's problem: to deny an inflammation says nothing of what brought it about."""
_THEN = re.compile(r"^(?:followed by|then|subsequently|thereafter)$")
_WEAKLY_PAST = re.compile(r"^(?:underwent|undergone|had an?)$")
_ORDERABLE = frozenset({"treatment", "imaging", "surgery", "procedure", "electrodiagnostic"})
# Where something is, or how it was looked at: a denial in the sentence is not of these.
_HAD = re.compile(r"\b(?:had|failed|after|completed|tried|following|underwent|despite)\b[^.;:\n]{0,45}$")
_PLAIN = frozenset({"region", "level", "nerve_site", "canal_named", "study_named", "body_site"})
_RECENT = re.compile(
    r"\brecent (?:history|hx)\b|\b(?:minutes?|hours?|hrs?|days?|nights?|weeks?|wks?)\s+(?:ago|earlier|before|back|prior|previously)\b",
)
# A sign that is no word, between a fact and another sign.
_MARK = re.compile(r"\([-+]\)|\(neg\)|[-+] ?ve\b")
_LONG_REACH = 7
"""Words after which a negation without any comma no longer crosses a verb (dictation without punctuation)."""


def reaching(text: str, raw: Raw, stops: Sequence[tuple[int, int]]) -> list[Reach]:
    """The cues that ConText lets reach `raw` and that its clause lets through.

    `stops` are the offsets of the terminating cues in text order. medspaCy 1.3.1 applies only the first of them: its
    overlap test is false when a scope lies inside the sentence.
    """
    out = []
    for reach in raw.reaches:
        cue = reach.cue
        low, high = (reach.end, raw.start) if reach.end <= raw.start else (raw.end, reach.start)
        first = bisect_left(stops, (low, 0))
        if _stopped(text, raw, reach, [stop for stop in stops[first : first + 4] if stop[1] <= high]):
            continue
        if (
            cue.says == Assertion.HISTORICAL
            and text[reach.start : reach.end] == "used to"
            and _TOOL.search(text[max(0, reach.start - 12) : reach.start])
        ):
            continue  # "a drill was used to remove the spur"
        if is_sign(text[reach.start : reach.end]) and _is_of_another(text, raw, reach):
            continue
        if cue.concepts and raw.concept not in cue.concepts:
            continue
        if raw.concept in cue.not_concepts:
            continue
        if cue.says in (Assertion.NEGATED, Assertion.UNCERTAIN, Assertion.HISTORICAL, Assertion.AFFIRMED) and _cut_off(
            text, raw, reach
        ):
            continue
        if (
            cue.says == Assertion.HISTORICAL
            and raw.concept != "surgery"
            and _RECENT.search(text[max(0, reach.start - 12) : reach.end + 1])
        ):
            continue  # "two hours ago" is now
        if (
            cue.says == Assertion.HYPOTHETICAL
            and cue.direction == "backward"
            and reach.start >= raw.end
            and _cut_off(text, raw, reach)
        ):
            continue
        if cue.says == Assertion.FAMILY and raw.concept == "treatment":
            continue  # "her daughter gives her the ibuprofen"
        if cue.says == Assertion.FAMILY and reach.end <= raw.start and _TOLD_BY.search(text[reach.end : raw.start]):
            continue
        if reach.start >= raw.end and _in_an_aside(text[raw.end : reach.start]):
            continue
        out.append(reach)
    return out


def _in_an_aside(between: str) -> bool:
    """Whether a cue stands deep in brackets that `between` opens: "diabetes (other problems may be present)"."""
    opened = between.rfind("(")
    return opened > between.rfind(")") and len(between[opened + 1 :].split()) > 2


def _is_of_another(text: str, raw: Raw, reach: Reach) -> bool:
    """Whether the sign at `reach` touches another word than `raw`: "reflexes ↓, (-) Spurling"."""
    first = leads(text, reach.start, reach.end)
    if reach.end <= raw.start:
        between = text[reach.end : raw.start]
        return not first or (re.search(r"[,;]", between) is not None and not _LIST_WORD.search(between))
    return first or _MARK.search(text, raw.end, reach.start) is not None


def _stopped(text: str, raw: Raw, reach: Reach, stops: Sequence[tuple[int, int]]) -> bool:
    """Whether one of the terminating cues between `reach` and `raw` ends its reach."""
    for start, end in stops:
        if _ASIDE.fullmatch(text[reach.end : end + 1]):
            continue  # "denies, however, any fever"
        if reach.cue.says == Assertion.HISTORICAL and raw.concept == "surgery" and _THEN.match(text[start:end]):
            continue  # "previously had a discectomy followed by a fusion"
        return True
    return False


def _cut_off(text: str, raw: Raw, reach: Reach) -> bool:
    """Whether a clause ends between the cue and the span."""
    if reach.end <= raw.start:
        between = _ASIDE.sub(" ", text[reach.end : raw.start])
        if reach.cue.says == Assertion.NEGATED and (
            _RELATIVE.search(between)
            or _NEXT_ACT.search(between)
            or _NEXT_CLAUSE.search(between)
            or _AND_HISTORY.search(between)
        ):
            return True
        if reach.cue.says == Assertion.NEGATED and _told_anew(text[reach.end : raw.end + 30], raw.start - reach.end):
            return True
        if reach.cue.says == Assertion.UNCERTAIN and _SEES.search(between):
            return True
        if reach.cue.says == Assertion.NEGATED and _MOSTLY.search(between + text[raw.start : raw.end + 1]):
            return True
        if "\n\n" in between or _NEW_SUBJECT.search(between + text[raw.start : raw.end + 1]):
            return True
        if reach.cue.says == Assertion.HISTORICAL and (_NEXT_ITEM.search(between) or _COMES_WITH.search(between)):
            return True
        if "," in between and raw.concept != "surgery" and _STATUS_POST.match(text[reach.start : reach.end]):
            return not _LIST_GOES_ON.match(text, raw.end)
        comma = between.rfind(",")
        if comma < 0:
            # Run-on dictation: "no fall strength is full my diagnosis is hypertrophy".
            words = between.split()
            return reach.cue.says == Assertion.NEGATED and len(words) > _LONG_REACH and bool(_VERB.search(between))
        if reach.cue.says == Assertion.HISTORICAL:
            # An operation told as past goes on over commas: "previously had a discectomy, followed by a fusion".
            return bool((_PRESENT if raw.concept == "surgery" else _VERB).search(between))
        # A comma starts a new clause when what follows has a verb of its own and is no list ("no A, B or C is seen").
        tail = re.split(r"[,;.\n]", text[raw.start : raw.start + 160])[0]
        segment = between[comma + 1 :] + tail
        verb = _VERB.search(segment)
        return bool(verb) and not _LIST_WORD.search(segment) and not _LIST_WORD.search(text[reach.start : reach.end])
    between = text[raw.end : reach.start]
    if reach.start >= raw.end:
        if re.search(r"\b(?:and|but)\s+$", between) and (
            reach.cue.direction == "both" or (raw.concept == "neuro" and _ABSENT.search(text[reach.start : reach.end]))
        ):
            return True  # "2+ at the knees and absent at the ankles", "reduced at the knee and was absent at the toes"
        if reach.cue.says == Assertion.NEGATED:
            if _OWN_SUBJECT.search(between) and _ONE_WAS.match(text[reach.start : reach.end]):
                return True
            if _POSITIVE.fullmatch(text[raw.start : raw.end]):
                return True  # "positive on the right and negative on the left"
        if between.count(",") and not re.match(
            r"^[\s,\w/-]*(?:,|\bor\b|\band\b)[\s\w/-]*(?:,|\bor\b|\band\b|\bis\b|\bare\b|\bwas\b|\bwere\b)[\s\w/-]*$",
            between,
        ):
            return len(between.split()) > 3
        return reach.cue.says != Assertion.NEGATED and bool(
            re.search(r"[;:]|\bwith\b|\bbut\b|\band\b.*\b(?:is|are|was)\b", between)
        )
    return False


def _told_anew(after: str, at: int) -> bool:
    """Whether what stands at `at` in the words after a denial is well, and told of after a comma or "and"."""
    well = _WELL.search(after)
    return well is not None and well.start() < at and not _GOES_WITH_IT.search(after[: well.start()])


def stand(
    text: str,
    raw: Raw,
    reaches: Sequence[Reach],
    sentence: Sentence,
    defaults: Mapping[str, Mapping[str, Assertion]],
    *,
    operative: bool,
    risk: bool = False,
    base: Assertion | None = None,
) -> Assertion | None:
    """The assertion of `raw`; None when nothing should be said of it (a family history that is denied).

    `risk`: the sentence names the risks of a procedure (LABELS 21).
    `base` is what the words themselves say: "sensation intact" is a negated deficit before any cue.
    """
    outright = _outright(text, raw, sentence)
    if outright is not None:
        return outright
    if raw.concept == "mechanism" and any(r.cue.says == "hypothetical" for r in reaches):
        return None  # a mechanism that only might come about brought nothing about
    reaches = _speaking_of(text, raw, reaches, sentence)
    if raw.concept in ("finding", "neuro") and any(
        _MADE_SURE.search(text[r.start : r.end]) for r in reaches if r.cue.says == "hypothetical"
    ):
        return Assertion.NEGATED if _NONE_FOUND.match(text, raw.end) else None
    says = {reach.cue.says for reach in reaches}
    default = defaults.get(sentence.section, {}).get(raw.concept)
    if "family" in says or default is Assertion.FAMILY:
        return None if "negated" in says else Assertion.FAMILY
    if raw.concept in _PLAIN:
        return Assertion.AFFIRMED
    if raw.concept == "treatment" and (
        sentence.section == "allergies" or _is_averse(text[max(sentence.start, raw.start - 90) : raw.start])
    ):
        return None
    if raw.concept == "disease" and any(
        _IF.match(text[r.start : r.end]) for r in reaches if r.cue.says == "hypothetical"
    ):
        return None  # "if the patient were diabetic"
    if "negated" not in says and _tried(text, raw, sentence):
        return Assertion.AFFIRMED
    if raw.concept in _ORDERABLE and "uncertain" in says and "negated" not in says:
        return Assertion.HYPOTHETICAL
    if risk and raw.key == "surgery/instrumentation" and "hardware" in text[raw.start : raw.end]:
        return None  # "hardware failure" is no operation that is planned
    if risk and (raw.concept in ("finding", "neuro", "surgery") or raw.key == "disease/other_infection"):
        return Assertion.HYPOTHETICAL
    if (
        "hypothetical" in says
        and ("affirmed" not in says or _plan_is_nearer(raw, reaches))
        and raw.concept != "ligament"
    ):
        return _planned(text, raw, reaches, sentence)
    if base is Assertion.NEGATED:
        return _normal(text, raw, reaches, says)
    if "negated" in says and raw.concept == "mechanism" and raw.key not in _HAPPENED:
        return None
    for hedge in (Assertion.NEGATED, Assertion.UNCERTAIN):
        if hedge.value in says:
            return hedge
    return base or _now_or_past(text, raw, reaches, sentence, default, operative=operative)


def _is_averse(before: str) -> bool:
    """Whether the words before a drug tell that it must not be taken."""
    averse = _AVERSE.search(before)
    return averse is not None and not _TAKES.search(before, averse.start())


def _outright(text: str, raw: Raw, sentence: Sentence) -> Assertion | None:
    """What the words right beside `raw` settle, whatever cue is about: a form's answer, a study's result."""
    before = text[max(0, raw.start - 50) : raw.start]
    if raw.concept == "imaging":
        if _has_result(text, raw):
            return Assertion.HYPOTHETICAL if _AWAITED.search(before) else Assertion.AFFIRMED
        if sentence.section in _TOLD and _ORDERED_BY.search(text[max(sentence.start, raw.start - 80) : raw.start]):
            return Assertion.AFFIRMED
        to_come = _TO_COME.match(text, raw.end)
        if _ORDER.search(text[max(0, raw.start - 80) : raw.start]):
            return Assertion.HYPOTHETICAL
        if to_come and not _SHOWED.search(text[raw.end : to_come.end() + 40].split(". ")[0]):
            return Assertion.HYPOTHETICAL
        if _IN_WEEKS.match(text, raw.end) and not _WAS_DONE.search(before):
            return Assertion.HYPOTHETICAL
        return Assertion.HYPOTHETICAL if _NOT_YET.search(before) else None
    if raw.concept not in ("finding", "neuro", "disease", "symptom"):
        return None
    if answer := _ANSWERED.match(text, raw.end):
        return Assertion.AFFIRMED if answer["yes"] else Assertion.NEGATED
    if raw.concept == "neuro" and _CHANGE.match(text[raw.start : raw.end]) and _NO_CHANGE.search(before):
        return Assertion.NEGATED
    return None


def _tried(text: str, raw: Raw, sentence: Sentence) -> bool:
    """Whether a treatment is told of as gone through or going on, in a plan too ("since her injection")."""
    if raw.concept != "treatment":
        return False
    before = text[max(sentence.start, raw.start - 80) : raw.start]
    told = _TRIED.search(before) or _TOLD_OF.search(text[max(sentence.start, raw.start - 140) : raw.start])
    return bool(told) and not _SUPPOSED.search(before)


def _speaking_of(text: str, raw: Raw, reaches: Sequence[Reach], sentence: Sentence) -> list[Reach]:
    """The cues that speak of this kind of fact."""
    if raw.concept == "imaging":
        return [r for r in reaches if _about_study(text, raw, r)]
    if raw.concept == "mechanism":
        return [r for r in reaches if _about_mechanism(text, raw, r)]
    if raw.concept in _ORDERABLE:
        reaches = [r for r in reaches if r.cue.says != Assertion.UNCERTAIN or _hedges(text, raw, r)]
    if raw.key in _FRACTURES:
        reaches = [r for r in reaches if not _still_seen(text, raw, r, sentence)]
    if raw.concept != "treatment":
        return list(reaches)
    told = sentence.section in _TOLD
    return [
        r
        for r in reaches
        if not _was_trial(text, r)
        and not (told and r.cue.says == "hypothetical" and _DONE.match(text[r.start : r.end]))
    ]


def _normal(text: str, raw: Raw, reaches: Sequence[Reach], says: set[str]) -> Assertion:
    """What the words call normal stands denied, unless that is taken back or hedged."""
    if any(_undoes(text, raw, reach) for reach in reaches):
        return Assertion.AFFIRMED
    return Assertion.UNCERTAIN if "uncertain" in says else Assertion.NEGATED


def _now_or_past(
    text: str,
    raw: Raw,
    reaches: Sequence[Reach],
    sentence: Sentence,
    default: Assertion | None,
    *,
    operative: bool,
) -> Assertion:
    says = {reach.cue.says for reach in reaches}
    told = [reach for reach in reaches if reach.cue.says == "historical"]
    if raw.concept == "surgery":
        told = [r for r in told if not _GONE.search(text[r.start : r.end])]
        if default is Assertion.AFFIRMED:
            told = [r for r in told if not _WEAKLY_PAST.match(text[r.start : r.end])]
        past = bool(told) or bool(_POST.match(text[raw.start : raw.end]))
        if (
            not past
            and default is None
            and not operative
            and _COME_FOR.search(text[max(sentence.start, raw.start - 90) : raw.start])
        ):
            return Assertion.HYPOTHETICAL
        return _surgery(past=past, sentence=sentence, default=default, operative=operative, says=says)
    # A drug or therapy once tried counts as tried (LABELS 16), in a plan too.
    if raw.concept == "treatment" and told:
        return Assertion.AFFIRMED
    if told and raw.concept != "treatment" and _is_past(text, raw, reaches):
        return Assertion.HISTORICAL
    if raw.concept == "disease" and _is_event(text, raw) and sentence.section in ("past_medical", "past_surgical"):
        return Assertion.HISTORICAL
    if (
        default is Assertion.HISTORICAL
        and raw.key not in _EVENTS
        and _REASON.search(text[max(0, raw.start - 40) : raw.start])
    ):
        return Assertion.AFFIRMED  # "Past surgery: laminectomy for stenosis": the operation is past
    return Assertion.AFFIRMED if "affirmed" in says else default or Assertion.AFFIRMED


def _was_trial(text: str, reach: Reach) -> bool:
    """Whether "trial of" tells of one that is over: "he had therapy and a trial of naproxen"."""
    return text[reach.start : reach.end] == "trial of" and bool(
        _HAD.search(text[max(0, reach.start - 60) : reach.start])
    )


def _hedges(text: str, raw: Raw, reach: Reach) -> bool:
    """Whether a hedge is about doing it ("possible fusion"), not about what it is done for ("suspected a cyst, ordered an MRI")."""
    between = text[reach.end : raw.start] if reach.end <= raw.start else text[raw.end : reach.start]
    return len(between.split()) <= 5 and not re.search(r"[,;]|\band\b|\bwith\b", between)


def _still_seen(text: str, raw: Raw, reach: Reach, sentence: Sentence) -> bool:
    """Whether "old" is said of a fracture that is there to be seen: old, but no thing of the past."""
    if reach.cue.says != Assertion.HISTORICAL or reach.end > raw.start or not _OLD.match(text[reach.start : reach.end]):
        return False
    near = len(text[reach.end : raw.start].split()) <= 3
    return near and (sentence.section in _REPORT_SECTIONS or bool(_SEEN.search(text[sentence.start : sentence.end])))


def _plan_is_nearer(raw: Raw, reaches: Sequence[Reach]) -> bool:
    """Whether a plan stands between a treatment and the word that says it goes on: "continue therapy, with the addition of"."""
    ahead = [r for r in reaches if r.end <= raw.start and r.cue.says in ("hypothetical", "affirmed")]
    return raw.concept == "treatment" and bool(ahead) and max(ahead, key=lambda r: r.end).cue.says == "hypothetical"


def _only_may(text: str, reaches: Sequence[Reach]) -> bool:
    plans = [r for r in reaches if r.cue.says == Assertion.HYPOTHETICAL]
    return all(_MAY.match(text[r.start : r.end]) for r in plans)


def _about_study(text: str, raw: Raw, reach: Reach) -> bool:
    """Whether a cue speaks of the study being done, not of what it shows ("x-rays were normal", "MRI suggests")."""
    if reach.cue.says == Assertion.UNCERTAIN:
        return False
    near = (
        len(text[reach.end : raw.start].split()) if reach.end <= raw.start else len(text[raw.end : reach.start].split())
    )
    if reach.cue.says == Assertion.NEGATED:
        # "did not obtain any MRIs or x-rays"
        return reach.end <= raw.start and near <= (7 if _LISTED.search(text[reach.end : raw.start]) else 3)
    if reach.cue.says == Assertion.HYPOTHETICAL:
        word = text[reach.start : reach.end]
        return (
            bool(reach.cue.concepts)
            and "discuss" not in word
            and "referred" not in word
            and not (reach.end <= raw.start and _PAPER.search(text[reach.end : raw.start]))
        )
    return True


def _has_result(text: str, raw: Raw) -> bool:
    """Whether the words around a study tell what it showed, so that it was done."""
    after, before = text[raw.end : raw.end + 70], text[max(0, raw.start - 40) : raw.start]
    return bool(_RESULT_AFTER.match(after) or _RESULT_BEFORE.search(before))


def _about_mechanism(text: str, raw: Raw, reach: Reach) -> bool:
    """Whether a cue denies or hedges the event itself: "no injury".

    Not something about it: "did not walk after the accident", "no other injury".
    """
    if reach.cue.says not in (Assertion.NEGATED, Assertion.UNCERTAIN):
        return True
    if reach.start >= raw.end:
        return True
    gap = text[reach.end : raw.start]
    listed = re.search(r",[^,.;]*\b(?:or|nor)\b", gap) is not None and _VERB.search(gap) is None
    return (listed or len(gap.split()) <= 6) and not re.search(
        r"\b(?:other|after|following|since|prior to|before)\b", gap
    )


def _planned(text: str, raw: Raw, reaches: Sequence[Reach], sentence: Sentence) -> Assertion:
    """A plan that is denied is denied ("no need for surgery"), a hedge next to the word outweighs a plan far from it."""
    if raw.concept in ("finding", "neuro") and sentence.section in _REPORT_SECTIONS and _only_may(text, reaches):
        return Assertion.UNCERTAIN  # a study that "may indent the cord" hedges, it does not plan
    ahead = [r for r in reaches if r.end <= raw.start]
    plan = max((r.start for r in ahead if r.cue.says == "hypothetical"), default=raw.start)
    if raw.concept in _ORDERABLE and any(r.cue.says == "negated" and r.start <= plan for r in ahead):
        return Assertion.NEGATED
    nearest = max(ahead, key=lambda r: r.end, default=None)
    if nearest is not None and nearest.cue.says == "negated" and raw.concept in _ORDERABLE:
        return Assertion.NEGATED  # "would like to avoid injections"
    if nearest is not None and nearest.cue.says == "uncertain" and raw.concept not in _ORDERABLE:
        return Assertion.UNCERTAIN
    return Assertion.HYPOTHETICAL


def _undoes(text: str, raw: Raw, reach: Reach) -> bool:
    """Whether a denial stands right before the word that says normal: "not intact", "no longer well preserved".

    One farther off denies something else: "no spurs, foramina open".
    """
    if reach.cue.says != Assertion.NEGATED or reach.cue.direction == "backward" or reach.end > raw.start:
        return False
    between = text[reach.end : raw.start]
    return len(between.split()) <= 2 and not re.search(r"[,;:]", between)


def _is_event(text: str, raw: Raw) -> bool:
    """Whether it is a thing that comes and is over, not a lasting condition."""
    return raw.key in _EVENTS and not _LASTING.search(text[raw.start : raw.end])


def _is_past(text: str, raw: Raw, reaches: Sequence[Reach]) -> bool:
    if _is_event(text, raw):
        return not any(
            r.start >= raw.end and re.search(r"\b(?:diagnosed|onset|began|started|since)\b", text[raw.end : r.start])
            for r in reaches
        )
    if raw.concept in ("imaging", "mechanism", "region", "level", "ligament", "course"):
        return False
    return any(r.cue.says == "historical" and _GONE.search(text[r.start : r.end]) is not None for r in reaches)


def _surgery(
    *, past: bool, sentence: Sentence, default: Assertion | None, operative: bool, says: set[str]
) -> Assertion:
    """An operation is this one in its own report or under "Procedure", else one of the past unless planned."""
    if past or default is Assertion.HISTORICAL:
        return Assertion.HISTORICAL
    if default is not None and "affirmed" not in says:
        return default
    if operative or sentence.section in ("procedure", "operation"):
        return Assertion.AFFIRMED
    return Assertion.HISTORICAL
