"""What extract reads in a sentence, as tables: text → exactly these facts; one group for each class once misread."""

from __future__ import annotations

import pytest

from notegap.analyzer import Analyzer
from notegap.extract.refine.level import find_levels
from notegap.model import Assertion, Mention, Note

Fact = tuple[str, str, str]
"""(concept, value, assertion)"""


def read(analyzer: Analyzer, text: str) -> tuple[Mention, ...]:
    return analyzer.extract(Note(id="t", text=text))


def facts(analyzer: Analyzer, text: str, *concepts: str) -> set[Fact]:
    """The facts of `concepts` in `text`."""
    return {(m.concept, m.value, m.assertion.value) for m in read(analyzer, text) if m.concept in concepts}


def finding(value: str, assertion: str = "affirmed") -> Fact:
    return ("finding", value, assertion)


def neuro(value: str, assertion: str = "affirmed") -> Fact:
    return ("neuro", value, assertion)


# ── where the spine is not spoken of ────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "text",
    [
        "Cardiac catheterization: the proximal vessel was clean. There was some mild stenosis distally in the artery.",
        "Left knee arthroscopy. Large osteophytes were removed. The ligament was frayed and then debrided.",
        "MRI of the right shoulder. The supraspinatus tendon is torn. There may be instability. Marrow edema is noted.",
        "The uterus was elevated. The ligament was clamped, and the ligament was then transected.",
        "X-rays of the wrist were taken. No fracture or dislocation is seen.",
        "The tooth was extracted. There was a fracture of the crown, and a cyst.",
        "Ear examination: the canals are normal, the tympanic membrane is clear.",
    ],
)
def test_other_parts_of_the_body_have_no_spinal_findings(analyzer: Analyzer, text: str) -> None:
    assert facts(analyzer, text, "finding", "ligament") == set()


def test_a_note_about_another_part_of_the_body_has_no_spinal_studies(analyzer: Analyzer) -> None:
    knees = "The left knee is stiff. The right knee is swollen. Both knees are tender. The patella is stable. "
    assert (
        facts(analyzer, f"{knees}She was seen. She is well. An MRI was normal. She went home. She works.", "imaging")
        == set()
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "Lumbar spine films. There is no fracture. Large osteophytes.",
            {finding("fracture", "negated"), finding("osteophyte")},
        ),
        ("Back: full motion, no subluxation.", {finding("subluxation", "negated")}),
        ("No fracture.", {finding("fracture", "negated")}),
        ("MRI lumbar spine. The hips are normal. Moderate stenosis at L4-5.", {finding("canal_stenosis")}),
    ],
)
def test_the_spine_keeps_its_own(analyzer: Analyzer, text: str, expected: set[Fact]) -> None:
    assert facts(analyzer, text, "finding") == expected


# ── a part and what is said of it ───────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "Bulge at L4-5 compressing the thecal sac and encroachment both nerve roots.",
            {finding("disc_displacement"), finding("canal_stenosis"), finding("nerve_root_compression")},
        ),
        ("The right nerve root is compressed in the foramen.", {finding("nerve_root_compression")}),
        (
            "Degenerative changes of the facets with ligamentum flavum hypertrophy.",
            {finding("facet_arthropathy"), finding("ligament_hypertrophy")},
        ),
        ("A band ran to the ligamentum flavum and this caused a small tear in the dura.", set()),
        ("The canal is narrowed at L4-5.", {finding("canal_stenosis")}),
    ],
)
def test_pairs(analyzer: Analyzer, text: str, expected: set[Fact]) -> None:
    assert facts(analyzer, text, "finding") == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "Reflexes are 2+ at the knees and absent at the ankles.",
            {neuro("reflex_change", "negated"), neuro("reflex_change")},
        ),
        (
            "GAIT: Normal.\nREFLEXES: Are 2+ throughout.",
            {neuro("gait_disturbance", "negated"), neuro("reflex_change", "negated")},
        ),
        ("SLR -ve, canal stenosis +ve at L4-5.", {neuro("nerve_tension_sign", "negated")}),
        ("No ankle reflexes.", {neuro("reflex_change")}),
        (
            "A negative straight leg raise, 5/5 strength and normal sensation.",
            {
                neuro("nerve_tension_sign", "negated"),
                neuro("motor_deficit", "negated"),
                neuro("sensory_deficit", "negated"),
            },
        ),
        (
            "SLR is positive on the right at 50 degrees and negative on the left.",
            {neuro("nerve_tension_sign"), neuro("nerve_tension_sign", "negated")},
        ),
        ("Power of the right lower extremity is 4-5/5.", {neuro("motor_deficit")}),
        (
            "She had a weakness of the foot, which has since cleared, and a non-radicular ache.",
            {neuro("motor_deficit", "historical"), neuro("radicular_pain", "negated")},
        ),
        ("No change in bowel or bladder function.", {neuro("bowel_bladder", "negated")}),
        (
            "L5: reflexes ↓, sensation ↓, power N.",
            {neuro("reflex_change"), neuro("sensory_deficit"), neuro("motor_deficit", "negated")},
        ),
    ],
)
def test_signs_of_the_examination(analyzer: Analyzer, text: str, expected: set[Fact]) -> None:
    assert facts(analyzer, text, "neuro") == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "Reflexes ↓ at the left ankle, (-) Spurling",
            {neuro("reflex_change"), neuro("nerve_tension_sign", "negated")},
        ),
        ("SLR (-), clonus (+)", {neuro("nerve_tension_sign", "negated"), neuro("reflex_change")}),
        ("(-) numbness, (+) weakness", {neuro("sensory_deficit", "negated"), neuro("motor_deficit")}),
        ("Numbness +ve, weakness -ve", {neuro("sensory_deficit"), neuro("motor_deficit", "negated")}),
        ("Numbness, weakness (-)", {neuro("sensory_deficit", "negated"), neuro("motor_deficit", "negated")}),
        (
            "SLR neg, DTRs ↓ R ankle, neg clonus",
            {neuro("nerve_tension_sign", "negated"), neuro("reflex_change"), neuro("reflex_change", "negated")},
        ),
        ("(-) SLR B, (+) FABER R", {neuro("nerve_tension_sign", "negated")}),
        ("SLR and Spurling, negative bilaterally", {neuro("nerve_tension_sign", "negated")}),
        ("+SLR R", {neuro("nerve_tension_sign")}),
        ("Exam: -SLR, +Hoffman", {neuro("nerve_tension_sign", "negated"), neuro("reflex_change")}),
        ("-SLR positive at 40", {neuro("nerve_tension_sign")}),
        (
            "Pt denies n/t/w in LEs, no b/b",
            {neuro("sensory_deficit", "negated"), neuro("motor_deficit", "negated"), neuro("bowel_bladder", "negated")},
        ),
    ],
)
def test_signs_and_short_forms(analyzer: Analyzer, text: str, expected: set[Fact]) -> None:
    assert facts(analyzer, text, "neuro") == expected


# ── where a denial ends ─────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "L4-5: no canal stenosis//// L5-S1: disc bulge noted.",
            {finding("canal_stenosis", "negated"), finding("disc_displacement")},
        ),
        (
            "No cord compression ---> disc bulge at C5-6",
            {finding("cord_compression", "negated"), finding("disc_displacement")},
        ),
        ("She had no falls that would contribute to a compression fracture of L1.", {finding("compression_fracture")}),
        ("There is no injury that could explain the L1 compression fracture.", {finding("compression_fracture")}),
        ("There is nothing to suggest a fracture of L1.", {finding("fracture", "negated")}),
        ("X-rays of the lumbar spine show an old compression fracture of L1.", {finding("compression_fracture")}),
        (
            "nil fracture nil spondylolisthesis",
            {finding("fracture", "negated"), finding("spondylolisthesis", "negated")},
        ),
        ("A high-speed drill was used to remove the osteophytes at C5-6.", {finding("osteophyte")}),
        ("There was no fall and I consider this a spondylolisthesis of L4.", {finding("spondylolisthesis")}),
        ("Can't stand for 2 min. Spondylolisthesis at L4-5.", {finding("spondylolisthesis")}),
        ("L1 compression fracture with no fragment in the spinal canal.", {finding("compression_fracture")}),
        ("Wedging fracture of L2.", {finding("compression_fracture")}),
    ],
)
def test_denials_end_with_their_clause(analyzer: Analyzer, text: str, expected: set[Fact]) -> None:
    assert facts(analyzer, text, "finding") == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("No loosening, solid fusion at L4-5.", ("surgical_fusion", "affirmed")),
        ("No loosening and a solid fusion at L4-5.", ("surgical_fusion", "affirmed")),
        ("No evidence of mature, solid fusion at L4-5.", ("surgical_fusion", "negated")),
        ("Lumbar films: no fracture, hardware intact.", ("instrumentation", "historical")),
        ("Lumbar films: no fracture, loose hardware, or stenosis.", ("canal_stenosis", "negated")),
    ],
)
def test_what_is_well_is_told_anew(analyzer: Analyzer, text: str, expected: tuple[str, str]) -> None:
    assert expected in {(m.value, m.assertion.value) for m in read(analyzer, text)}


def test_an_aside_does_not_end_a_denial(analyzer: Analyzer) -> None:
    text = "He denies, however, any bowel or bladder problems."
    assert facts(analyzer, text, "neuro") == {neuro("bowel_bladder", "negated")}


# ── layout ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("text", "concept", "expected"),
    [
        ("[x] lumbar [ ] thoracic [ ] cervical tenderness", "region", {("region", "lumbar", "affirmed")}),
        ("Region: cervical [ ] thoracic [x] lumbar [ ]", "region", {("region", "thoracic", "affirmed")}),
        ("☐ canal stenosis ☑ foraminal stenosis", "finding", {finding("foraminal_stenosis")}),
        ("( ) fracture\n(X) spondylolisthesis", "finding", {finding("spondylolisthesis")}),
        (
            "Numbness: [ ] Yes [x] No\nWeakness: [x] Yes [ ] No",
            "neuro",
            {neuro("sensory_deficit", "negated"), neuro("motor_deficit")},
        ),
        (
            "Fracture: N. Stenosis: Y. Listhesis: none",
            "finding",
            {finding("fracture", "negated"), finding("canal_stenosis"), finding("spondylolisthesis", "negated")},
        ),
        (
            "Fracture: none\nSpondylolisthesis: present\nCanal stenosis - no",
            "finding",
            {finding("fracture", "negated"), finding("spondylolisthesis"), finding("canal_stenosis", "negated")},
        ),
        (
            "| L4-5 | disc bulge |\n| L5-S1 | no canal stenosis |",
            "finding",
            {finding("disc_displacement"), finding("canal_stenosis", "negated")},
        ),
    ],
)
def test_forms_and_tick_boxes(analyzer: Analyzer, text: str, concept: str, expected: set[Fact]) -> None:
    assert facts(analyzer, text, concept) == expected


@pytest.mark.parametrize(
    ("text", "section"),
    [
        ("REVIEW OF SYSTEMS:\nNeurological: Denies numbness.", "ros"),
        ("PHYSICAL EXAM:\nNeurological: No numbness.", "exam"),
        ("PROCEDURE: Laminectomy L4-5 for numbness.", "procedure"),
        ("EXAM: MRI of the lumbar spine for numbness.", "exam_study"),
        ("LONG-TERM GOALS TO BE MET IN A MONTH:\nLess numbness.", "plan"),
        ("REVIEW OF SYSTEMS:\nHEENT: No headache.\nCARDIOVASCULAR: No pain.\nNEUROLOGICAL: No numbness.", "ros"),
        ("PHYSICAL EXAM:\nVITAL SIGNS: Stable.\nLUNGS: Clear. There is numbness of the left foot.", "exam"),
        ("Family History: gout in an aunt. Assessment and Plan: numbness of the left foot.", "assessment_plan"),
        ("HPI: He came in today.\nSmoking: denies.\nThere is numbness of the left foot.", "hpi"),
        ("History. She paints.\n\nExamination. There is numbness of the left foot.", "exam"),
        ("Exam on discharge: numbness of the left foot.", "exam"),
        ("Subjective: sore.\nAssess: numbness of the left foot.", "assessment"),
        ("ROM: full.\nPOC: less numbness.", "plan"),
    ],
)
def test_sections(analyzer: Analyzer, text: str, section: str) -> None:
    assert [m.section for m in read(analyzer, text) if m.value == "sensory_deficit"] == [section]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "Dx: 1) lumbar stenosis 2) r/o discitis 3) s/p L4-5 fusion",
            {finding("canal_stenosis"), finding("discitis", "uncertain"), ("surgery", "fusion", "historical")},
        ),
        (
            "IMPRESSION: #1 no fracture #2 lumbar stenosis #3 possible discitis",
            {finding("fracture", "negated"), finding("canal_stenosis"), finding("discitis", "uncertain")},
        ),
        (
            "Dx: a) possible discitis b) spondylolisthesis",
            {finding("discitis", "uncertain"), finding("spondylolisthesis")},
        ),
        (
            "Dx: (1) possible discitis, (2) L4-5 spondylolisthesis",
            {finding("discitis", "uncertain"), finding("spondylolisthesis")},
        ),
        (
            "She denies 1) a fracture of the spine 2) spondylolisthesis.",
            {finding("fracture", "negated"), finding("spondylolisthesis", "negated")},
        ),
    ],
)
def test_lists_within_a_line(analyzer: Analyzer, text: str, expected: set[Fact]) -> None:
    assert facts(analyzer, text, "finding", "surgery") == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "PLAN:\nMRI cervical spine\nPT 2x/week\nNaproxen",
            {
                ("imaging", "mri", "hypothetical"),
                ("treatment", "physical_therapy", "hypothetical"),
                ("treatment", "nsaid", "hypothetical"),
            },
        ),
        (
            "PLAN:,  MRI cervical spine,PT",
            {("imaging", "mri", "hypothetical"), ("treatment", "physical_therapy", "hypothetical")},
        ),
        (
            "PLAN:\nMRI LUMBAR SPINE\nPHYSICAL THERAPY",
            {("imaging", "mri", "hypothetical"), ("treatment", "physical_therapy", "hypothetical")},
        ),
        (
            "Plan:\nImaging: MRI lumbar spine\nMedications: naproxen",
            {("imaging", "mri", "hypothetical"), ("treatment", "nsaid", "hypothetical")},
        ),
        (
            "PLAN: PT\n\nIMAGING\nMRI lumbar spine",
            {("treatment", "physical_therapy", "hypothetical"), ("imaging", "mri", "affirmed")},
        ),
        (
            "Plan: PT\nImaging: MRI of the lumbar spine showed a cyst.",
            {("treatment", "physical_therapy", "hypothetical"), ("imaging", "mri", "affirmed")},
        ),
        ("Imaging ordered: MRI of the neck", {("imaging", "mri", "hypothetical")}),
        ("Rx'd naproxen today.", {("treatment", "nsaid", "hypothetical")}),
        ("Assessment: back pain. Rx: naproxen", {("treatment", "nsaid", "hypothetical")}),
        ("PMH: gout\nRx: gabapentin", {("treatment", "neuropathic_agent", "affirmed")}),
    ],
)
def test_what_a_plan_lists(analyzer: Analyzer, text: str, expected: set[Fact]) -> None:
    assert facts(analyzer, text, "imaging", "treatment") == expected


# ── levels ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("text", "levels"),
    [
        ("Bruise of the S3-S4 vertebral bodies", {"S3", "S4"}),
        ("Lumbar images from T12-L1 to the S1 level", {"T12-L1", "S1"}),
        ("Fracture at the L1-L2 vertebral junction", {"L1-L2"}),
        ("Two right L2-L3 transforaminal injections", {"L2-L3"}),
        ("Right L4 transforaminal injection", set()),
        ("Lung cancer, T3 N0 M0", set()),
        ("Bulge touching the L5 nreve and the S1 nerv root", set()),
        ("Fibrillations in the triceps (C7-8) and biceps (C5-6)", set()),
        ("For C3 to C6, the medial branch was sought", set()),
    ],
)
def test_levels(analyzer: Analyzer, text: str, levels: set[str]) -> None:
    assert {m.value for m in read(analyzer, text) if m.concept == "level"} == levels


# ── plans, the past, and what is under way ──────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "ASSESSMENT AND PLAN: I described a lumbar fusion to him in detail.",
            {("surgery", "fusion", "hypothetical")},
        ),
        (
            "HPI: She is to come to the hospital for an L5 kyphoplasty.",
            {("surgery", "vertebral_augmentation", "hypothetical")},
        ),
        ("PREOPERATIVE DIAGNOSIS: Post laminectomy pain.", {("surgery", "decompression", "historical")}),
        (
            "HPI: He previously had a lumbar discectomy, followed by a lumbar fusion.",
            {("surgery", "discectomy", "historical"), ("surgery", "fusion", "historical")},
        ),
        ("PLAN: Her pain is better since her facet injection.", {("treatment", "injection", "affirmed")}),
        ("PLAN: He is on gabapentin already.", {("treatment", "neuropathic_agent", "affirmed")}),
        (
            "HPI: Her doctor suspected a pinched nerve, did films, and prescribed gabapentin.",
            {("treatment", "neuropathic_agent", "affirmed")},
        ),
        (
            "PLAN: She will not work until we have the lumbar MRI results.",
            {("imaging", "mri", "hypothetical")},
        ),
        (
            "The patient will be subjected to a CT scan of the lumbar spine.",
            {("imaging", "ct", "hypothetical")},
        ),
        ("PLAN: She would like to avoid epidural injections.", {("treatment", "injection", "negated")}),
        (
            "PLAN: He was unable to sleep before his rhizotomy.",
            {("treatment", "ablation", "affirmed")},
        ),
        ("Norco 5 mg at night, 30 with 1 refill.", {("treatment", "opioid", "hypothetical")}),
        ("MEDICATIONS: Norco 5 mg at night, 30 with 1 refill.", {("treatment", "opioid", "affirmed")}),
    ],
)
def test_plans_and_the_past(analyzer: Analyzer, text: str, expected: set[Fact]) -> None:
    assert facts(analyzer, text, *{fact[0] for fact in expected}) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("X-rays of the lumbar spine ordered.", {("imaging", "xray", "hypothetical")}),
        ("MRI pending", {("imaging", "mri", "hypothetical")}),
        ("MRI requested to rule out a disc herniation.", {("imaging", "mri", "hypothetical")}),
        ("X-rays ordered by his doctor showed a slip at L4-5.", {("imaging", "xray", "affirmed")}),
        (
            "Get an EMG and an MRI of the neck. Check x-rays.",
            {("imaging", "mri", "hypothetical"), ("imaging", "xray", "hypothetical")},
        ),
        ("She did get an MRI of the neck last week.", {("imaging", "mri", "affirmed")}),
        (
            "At first he did not obtain any MRI or x-rays.",
            {("imaging", "mri", "negated"), ("imaging", "xray", "negated")},
        ),
        ("She refuses an MRI of her neck.", {("imaging", "mri", "negated")}),
        ("Repeat MRI of the neck in six weeks.", {("imaging", "mri", "hypothetical")}),
        ("She had an MRI of the neck in two days.", {("imaging", "mri", "affirmed")}),
        ("We do not have the MRI of the neck to look at.", {("imaging", "mri", "affirmed")}),
        ("Back pain and testicular cancer; a recent bone scan was clear.", {("imaging", "bone_scan", "affirmed")}),
        ("HPI: Dr. Lamb ordered an MRI of her neck in June.", {("imaging", "mri", "affirmed")}),
        ("HPI: I sent her for a cervical MRI and she is back today.", {("imaging", "mri", "affirmed")}),
        ("PLAN: We will obtain the report of her lumbar MRI.", {("imaging", "mri", "affirmed")}),
        ("PLAN: Dr. Lamb ordered an MRI of her neck.", {("imaging", "mri", "hypothetical")}),
        ("X-rays were taken after the hernia was closed, and the belly was soft. " * 5, set()),
    ],
)
def test_studies_ordered(analyzer: Analyzer, text: str, expected: set[Fact]) -> None:
    assert facts(analyzer, text, "imaging") == expected


# ── what is said of a disease, a cause, a drug ──────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # lasting and passing
        ("PAST MEDICAL HISTORY: HIV diagnosed years ago.", {("disease", "other_infection", "affirmed")}),
        ("PAST MEDICAL HISTORY: Bacterial endocarditis.", {("disease", "other_infection", "historical")}),
        # only supposed
        ("PLAN: We spoke of what would happen if she were diabetic.", set()),
        ("Infection is the main risk because of his diabetes.", {("disease", "diabetes", "affirmed")}),
        # a denial that ends with "and a history of"
        (
            "Seen without any recent fall and with a past history of melanoma.",
            {("disease", "malignancy", "historical"), ("mechanism", "traumatic", "negated")},
        ),
        # a cue deep in brackets
        ("He has gout (several other problems may be present too).", {("disease", "gout", "affirmed")}),
        # a relative who tells of the patient
        ("Her daughter said that she may need physical therapy.", {("treatment", "physical_therapy", "hypothetical")}),
        ("His daughter has osteoporosis.", {("disease", "osteoporosis", "family")}),
        # a list that denies a cause at its end
        (
            "She denies bowel or bladder trouble, saddle numbness, or falls.",
            {("mechanism", "traumatic", "negated")},
        ),
        ("He denied any neck, head or back injury.", {("mechanism", "traumatic", "negated")}),
        # short forms in a denial
        (
            "No h/o ca, tb, or ivda.",
            {("disease", "malignancy", "negated"), ("disease", "tuberculosis", "negated")},
        ),
        ("Denies hx of TB, dm or ca.", {("disease", v, "negated") for v in ("malignancy", "tuberculosis", "diabetes")}),
        ("Labs: ca 9.2. TB test negative.", set()),
        # a cause that is denied and another told
        (
            "No injury at work. She was in an MVA last week.",
            {("mechanism", "traumatic", "negated"), ("mechanism", "traumatic", "affirmed")},
        ),
        ("She was in an MVA last week. She noticed no injury then.", {("mechanism", "traumatic", "affirmed")}),
        # no denial that something happened
        ("X-rays of the neck were negative for any acute injury. No other injuries.", set()),
        ("The belly was opened and the wire was pulled back after reaching the end of the cut.", set()),
        (
            "HEAD: No evidence of trauma.\nPLAN: Sore neck, no heavy lifting.",
            {("treatment", "activity_modification", "hypothetical")},
        ),
        # a title and a disease
        ("We waited for Ms. Lark, whose neck hurts.", set()),
        ("She was treated for MS with an infusion.", {("disease", "multiple_sclerosis", "affirmed")}),
        # who gives it is not who takes it
        ("Her daughter hands her the ibuprofen for her back.", {("treatment", "nsaid", "affirmed")}),
        # a plan that ends where another clause tells of now
        (
            "Back pain. She was sent to Dr. Lamb, who has kept her on gabapentin.",
            {("treatment", "neuropathic_agent", "affirmed")},
        ),
        # what must not be taken
        ("She is allergic to codeine and intolerant of ibuprofen.", set()),
        ("ALLERGIES:,  SHE IS ALLERGIC TO MOBIC (RASH).", set()),
        # what it looks like
        ("On the film this appears to be a metastasis.", {("disease", "metastasis", "uncertain")}),
    ],
)
def test_diseases_causes_and_drugs(analyzer: Analyzer, text: str, expected: set[Fact]) -> None:
    assert facts(analyzer, text, "disease", "mechanism", "treatment") == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("She takes nadolol and amitriptyline for treatment of her migraines.", set()),
        ("Her migraines are treated with amitriptyline.", set()),
        ("PLAN: He may use ibuprofen for the ankle sprain.", set()),
        ("PLAN: The wisdom tooth is inflamed. Start ibuprofen.", set()),
        ("She takes ibuprofen for her knee and low back pain.", {("treatment", "nsaid", "affirmed")}),
        ("Ibuprofen as needed for pain in the left leg.", {("treatment", "nsaid", "affirmed")}),
        ("Back pain. Takes Norco 5 mg t.i.d. with Ambien 5 mg for sleep.", {("treatment", "opioid", "affirmed")}),
        (
            "HPI: Backache. Amitriptyline at night for her migraines.\nMEDICATIONS: Naproxen, amitriptyline.",
            {("treatment", "nsaid", "affirmed")},
        ),
        ("He stopped naproxen because of abdominal pain.", {("treatment", "nsaid", "affirmed")}),
        ("She is allergic to codeine and takes tramadol.", {("treatment", "opioid", "affirmed")}),
        ("Allergic to codeine and tramadol.", set()),
        (
            "Naproxen for backache, gabapentin for neuropathy, zolpidem for sleep.",
            {("treatment", "nsaid", "affirmed"), ("treatment", "neuropathic_agent", "affirmed")},
        ),
        (
            "PLAN: The options are continued bracing, with the addition of an epidural steroid injection.",
            {("treatment", "brace", "affirmed"), ("treatment", "injection", "hypothetical")},
        ),
    ],
)
def test_treatments_for_something_else(analyzer: Analyzer, text: str, expected: set[Fact]) -> None:
    assert facts(analyzer, text, "treatment") == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("An MRI will be done to make sure that there is no fracture.", {finding("fracture", "hypothetical")}),
        ("We probed the canal to make sure there was no disc herniation.", set()),
        (
            "We probed the canal to make sure there was no disc herniation and none was found.",
            {finding("disc_displacement", "negated")},
        ),
    ],
)
def test_looking_to_make_sure(analyzer: Analyzer, text: str, expected: set[Fact]) -> None:
    assert facts(analyzer, text, "finding") == expected


# ── ties ────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("text", "value", "at"),
    [
        (
            "LSS MRI\nDisc bulge at L4-L5 level.\nNo nerve root compression noted.",
            "nerve_root_compression",
            ("lumbosacral",),
        ),
        ("LSS MRI\nDisc bulge at L4-L5 level,\ncompressing the thecal sac.", "canal_stenosis", ("lumbar",)),
        ("CT spine. L4-5: Normal height. The canal is narrowed.", "canal_stenosis", ("lumbar",)),
        (
            "Screws at the lower thoracic and upper lumbar spine with fractures of the bodies.",
            "fracture",
            ("thoracic", "lumbar"),
        ),
    ],
)
def test_regions_of_a_finding(analyzer: Analyzer, text: str, value: str, at: tuple[str, ...]) -> None:
    assert [m.at for m in read(analyzer, text) if m.value == value] == [at]


# ── operations named, unnamed and elsewhere ─────────────────────────────────────────────────────


def surgery(value: str, assertion: str) -> Fact:
    return ("surgery", value, assertion)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Status post ACDF C5-6.", {surgery("fusion", "historical"), surgery("discectomy", "historical")}),
        ("LSS MRI\nPrevius surgery noted at the lower level.", {surgery("other", "historical")}),
        ("Previous operation at L4-5.", {surgery("other", "historical")}),
        ("Prior lumbar surgery. She had an L4-5 laminectomy in 2004.", {surgery("decompression", "historical")}),
        ("If the neck pain persists, surgery may be needed.", {surgery("other", "hypothetical")}),
        ("No previous back surgery.", set()),
        ("Lumbar strain. Past surgical history: prior surgery for a hernia.", set()),
        ("The ankle was fused. Screws were placed. The knee hardware was removed.", set()),
        ("Decompression of the median nerve at the wrist with instrumentation of the radius.", set()),
    ],
)
def test_operations_named_unnamed_and_elsewhere(analyzer: Analyzer, text: str, expected: set[Fact]) -> None:
    assert facts(analyzer, text, "surgery") == expected


@pytest.mark.parametrize(
    ("text", "value", "levels"),
    [
        ("The thoracic spine shows kyphosis, the lumbar spine scoliosis.", "scoliosis", set()),
        ("Bulges at L3-4 and L4-5; L4-5 is worst, where there is canal stenosis.", "canal_stenosis", {"L4-L5"}),
        ("Cervical discectomy and fusion C5-6, C6-7.", "fusion", {"C5-C6", "C6-C7"}),
        ("Fusion L4-5 with pedicle screws L4 and L5.", "instrumentation", {"L4", "L5"}),
    ],
)
def test_levels_of_a_fact(analyzer: Analyzer, text: str, value: str, levels: set[str]) -> None:
    assert {level for m in read(analyzer, text) if m.value == value for level in m.levels} == levels


# ── the grammar of levels ───────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("text", "levels"),
    [
        ("C5-6-7 plate", "C5-C6 C6-C7"),
        ("C4/5/6 disease", "C4-C5 C5-C6"),
        ("L3/4, 4/5 and 5/1 bulges", "L3-L4 L4-L5 L5-S1"),
        ("L3-4, L4-5, 5-S1", "L3-L4 L4-L5 L5-S1"),
        ("L4-5 + 5-1", "L4-L5 L5-S1"),
        ("C3-4 through C5-6 spondylosis", "C3-C4 C4-C5 C5-C6"),
        ("disc between L5 and S1", "L5-S1"),
        ("slip of L4 relative to L5", "L4-L5"),
        ("fused from S1-L4", "L4-L5 L5-S1"),
        ("laminectomy of C3, 4, 5 and 6", "C3 C4 C5 C6"),
        ("T11, 12 vertebrae", "T11 T12"),
        ("L4,5 disc", "L4-L5"),
        ("L4\u20145, L4\u22125, L4~5", "L4-L5"),
        ("L 5 - S 1 disc, L5/S 1", "L5-S1"),
        ("L 4/5 disc", "L4-L5"),
        ("Th 12 fracture and a d11 vertebral collapse", "T12 T11"),
        ("L5-SI facet", "L5-S1"),
        ("the third lumbar vertebra, the 2nd cervical vertebral body", "L3 C2"),
        ("lumbar 4-5 and lumbar five-sacral one, cervical 5/6", "L4-L5 L5-S1 C5-C6"),
        ("6.5 x 45 mm screws at L4, 5.5 mm at S1", "L4 S1"),
        ("fusion L4-5 on 05/04/2005, L5-S1 1/2/98", "L4-L5 L5-S1"),
        ("fused from C4 though C6, from L3 thorugh L5", "C4-C5 C5-C6 L3-L4 L4-L5"),
        ("bulge seen atL3/L4 level", "L3-L4"),
        ("LT PARACENTRAL PROTRUSION SEEN AT L5-S1 LEVEL, T11 AND 12 VERTEBRAE", "L5-S1 T11 T12"),
        ("SLIP OF L4 OVER L5, FUSED FROM C3 TO C5, A SCREW IN THE BODY OF T1", "L4-L5 C3-C4 C4-C5 T1"),
        ("radiofrequency ablation from L4 to S1", "L4-L5 L5-S1"),
    ],
)
def test_grammars_of_levels(text: str, levels: str) -> None:
    assert list(dict.fromkeys(v for span in find_levels(text) for v in span.values)) == levels.split()


@pytest.mark.parametrize(
    "text",
    [
        "L 4/5, R 5/5 throughout",
        "S1, S2 present, no S3",
        "S1S2 heard",
        "spinal anaesthesia to T4",
        "anesthetic level at T10, block up to the T6 level",
        "T3 and T4 with TSH normal",
        "complements C3 and C4 low",
        "D5 half normal, D10 infusion",
        "cholecalciferol D3 1000 IU",
        "stage T3Nx",
        "ribs T8-T10",
        "knee jerk (L3,4) 2+, AJ (S1) absent",
        "C5 palsy",
        "lateral branches of S1, S2 and S3; the dorsal ramus of L5",
        "the medial branch of the L4, the left S1 exit root",
        "right L4 and L5 radiofrequency ablation",
        "a sensory level to pinprick in front at about T6, at the back T8",
        "a hypointense T1 and T2 lesion",
        "closed on a C1 tapered needle",
        "REGULAR RHYTHM WITHOUT MURMUR, S3 OR S4",
        "cervical 2-3 cm, lumbar 3-4 times",
        "the lower three lumbar levels",
    ],
)
def test_what_is_no_level(text: str) -> None:
    assert find_levels(text) == []


# ── any text at all ─────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "text",
    [
        "HPI:\r\nNo fracture\r\nof L1.\r\n\r\nPLAN:\r\nMRI lumbar spine.\r\n",
        "No\x00 fracture of\x00L1, canal\x00stenosis at L4-5.",
        "No\u00a0fracture of L1, canal\u200b stenosis at L4\u20115.",
        "L4-5\tdisc\tbulge\tno\tfracture",
        "🦴 disc bulge 🙂 at L4-5 👍🏽, no fracture",
        "☐ kyphosis ☑ disc bulge 🦴 at L4-5 [ ] stenosis",
        "",
        "\n\n \t",
        "((((((((((",
        "[ ][x][ ] L4-5",
    ],
)
def test_offsets_point_into_the_text_as_given(analyzer: Analyzer, text: str) -> None:
    mentions = read(analyzer, text)
    assert all(text[m.start : m.end] == m.text != "" for m in mentions)
    fractures = [m.assertion for m in mentions if m.value == "fracture"]
    assert fractures == [Assertion.NEGATED] * ("fracture" in text)


def test_a_long_note_is_read_to_its_end(analyzer: Analyzer) -> None:
    page = "FINDINGS: No fracture of L1. L4-5 disc bulge.\nThe right knee is normal. No dislocation.\n"
    mentions = read(analyzer, page * 1000)
    assert len([m for m in mentions if m.value == "disc_displacement"]) == 1000
    assert not [m for m in mentions if m.value == "dislocation"]
    assert mentions[-1].end > len(page) * 999


# ── which disease a finding comes from ──────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("text", "value", "cause"),
    [
        ("Osteoporotic insufficiency fracture of the sacrum.", "fracture", "disease/osteoporosis"),
        ("Osteoporotic vertebral fracture at T12.", "fracture", "disease/osteoporosis"),
        ("Kyphosis due to osteoporosis.", "kyphosis", "disease/osteoporosis"),
        ("Diabetic patient with kyphosis of the thoracic spine.", "kyphosis", None),
        ("Diabetic, and a lumbar fracture on the films.", "fracture", None),
        ("Osteoporotic with kyphosis of the thoracic spine.", "kyphosis", None),
    ],
)
def test_an_adjective_names_the_cause_only_of_its_own_noun(
    analyzer: Analyzer, text: str, value: str, cause: str | None
) -> None:
    (found,) = [m for m in read(analyzer, text) if m.value == value]
    assert [key for key in found.due_to if key.startswith("disease/")] == ([cause] if cause else [])
