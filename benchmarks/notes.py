"""Made-up notes to measure speed with: about 500 words each, all different, the same in every run."""

from __future__ import annotations

import random

_SYMPTOMS = ["low back pain", "neck pain", "a burning ache between the shoulder blades", "numbness of the left foot"]
_COURSE = ["It came on gradually.", "She fell from a ladder in May.", "There was no injury.", "He was rear-ended."]
_TREATMENT = [
    "Eight weeks of physical therapy",
    "Naproxen",
    "A lumbar brace",
    "Two epidural injections",
    "Home exercises",
]
_LEVELS = ["C4-5", "C5-6", "T11-12", "L2-3", "L3-4", "L4-5", "L5-S1"]
_FINDINGS = [
    "thickening of the ligamentum flavum",
    "mild narrowing of the spinal canal",
    "a broad-based disc bulge",
    "moderate facet arthropathy with osteophytes",
    "grade 1 anterolisthesis, stable on flexion and extension",
    "laxity of the interspinous ligament",
]
_ABSENT = ["fracture", "dislocation", "cord signal change", "infection", "nerve root compression", "destructive lesion"]
_EXAM = [
    "Strength is 5/5 in both legs.",
    "Sensation to light touch is intact.",
    "Straight leg raise is negative on both sides.",
    "Gait is normal.",
    "Patellar reflexes are 2+ and equal.",
]
_ASSESSMENT = ["Ligamentous laxity", "Segmental instability", "Spinal stenosis", "Possible spondylolysis"]


def note(number: int, *, imaging_lines: int = 26) -> str:
    """The `number`th note."""
    pick = random.Random(number)
    imaging = [
        f"At {pick.choice(_LEVELS)} there is {pick.choice(_FINDINGS)}, without {pick.choice(_ABSENT)}. "
        f"No {pick.choice(_ABSENT)} or {pick.choice(_ABSENT)}."
        for _ in range(imaging_lines)
    ]
    lines = [
        f"Chief complaint: {pick.choice(_SYMPTOMS)}",
        f"History of present illness: {pick.randint(30, 80)}-year-old patient with {pick.choice(_SYMPTOMS)} for "
        f"{pick.randint(2, 24)} months. {pick.choice(_COURSE)} {pick.choice(_TREATMENT)} gave little relief.",
        "Past medical history: diabetes, hypertension, osteoporosis. No prior spine surgery.",
        "Family history: mother had rheumatoid arthritis.",
        "Physical examination: " + " ".join(pick.sample(_EXAM, 4)),
        "Imaging: MRI of the spine was reviewed.",
        *imaging,
        f"Assessment: {pick.choice(_ASSESSMENT)} at {pick.choice(_LEVELS)}, degenerative.",
        f"Plan: {pick.choice(_TREATMENT).lower()}. Return in {pick.randint(2, 12)} weeks.",
    ]
    return "\n".join(lines)
