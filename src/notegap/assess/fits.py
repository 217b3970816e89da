"""Which ICD-10-CM codes a documented fact is coded with, so that an alert suggests only the codes its evidence fits.

A code written here stands for itself and everything under it. Source: ICD-10-CM Index and Tabular, FY2026.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

DISEASE_CODES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "tuberculosis": ("A15", "A17", "A18", "A19"),
        "brucellosis": ("A23",),
        "typhoid": ("A01",),
        "other_infection": ("A", "B"),
        "paget": ("M88",),
        "malignancy": ("C", "D0"),
        "metastasis": ("C77", "C78", "C79", "C80"),
        "multiple_myeloma": ("C90",),
        "lymphoma": ("C81", "C82", "C83", "C84", "C85", "C86", "C88"),
        "osteoporosis": ("M80", "M81"),
        "osteopenia": ("M85.8",),
        "osteomalacia": ("M83", "E55.0", "E83.3"),
        "renal_osteodystrophy": ("N18", "N25.0"),
        "hyperparathyroidism": ("E21", "N25.81"),
        "gout": ("M10", "M1A"),
        "cppd": ("M11",),
        "ankylosing_spondylitis": ("M45", "M08.1"),
        "axial_spondyloarthritis": ("M45.A", "M46.8"),
        "rheumatoid_arthritis": ("M05", "M06", "M08", "M45"),
        "psoriatic_arthritis": ("L40.5",),
        "reactive_arthritis": ("M02",),
        "enteropathic_arthritis": ("M07", "K50", "K51"),
        "inflammatory_bowel_disease": ("K50", "K51", "M07"),
        "dish": ("M48.1",),
        "osteoarthritis": ("M15", "M16", "M17", "M18", "M19", "M47"),
        "ehlers_danlos": ("Q79.6",),
        "hypermobility_syndrome": ("M35.7",),
        "marfan": ("Q87.4",),
        "down_syndrome": ("Q90",),
        "klippel_feil": ("Q76.1",),
        "osteogenesis_imperfecta": ("Q78.0",),
        "achondroplasia": ("Q77.4",),
        "neurofibromatosis": ("Q85.0",),
        "charcot_marie_tooth": ("G60.0",),
        "syringomyelia": ("G95.0",),
        "tabes_dorsalis": ("A52.1",),
        "diabetes": ("E08", "E09", "E10", "E11", "E13"),
        "sickle_cell": ("D57",),
        "hemophilia": ("D66", "D67", "D68"),
        "sarcoidosis": ("D86",),
        "multiple_sclerosis": ("G35",),
        "parkinson": ("G20",),
        "cerebral_palsy": ("G80",),
        "muscular_dystrophy": ("G71.0",),
        "spina_bifida": ("Q05", "Q76.0"),
        "alkaptonuria": ("E70.2",),
        "acromegaly": ("E22.0",),
        "amyloidosis": ("E85",),
    }
)
"""The values of the concept `disease`; "other" has no code of its own."""

FACT_CODES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        **{f"disease/{value}": codes for value, codes in DISEASE_CODES.items()},
        # Degeneration of the sacroiliac joint is M53.3; M46.1 is the inflammatory one.
        "disease/osteoarthritis": (*DISEASE_CODES["osteoarthritis"], "M53.3"),
        "finding/spondylosis": ("M47", "M53.3"),
        "finding/ligament_tear": ("S13.4", "S23.3", "S33.5", "S33.6"),
        "finding/ligament_ossification": ("M48.8X", "M67.88"),
        "finding/ligament_hypertrophy": ("M24.28", "M99.4"),
        "finding/instability": ("M53.2",),
        "finding/dislocation": ("M43.3", "M43.4", "M43.5", "S13.1", "S23.1", "S33.1", "S33.2"),
        "finding/subluxation": ("M43.3", "M43.4", "M43.5", "M99.1", "M99.2", "S13.1", "S23.1", "S33.1", "S33.2"),
        "finding/spondylolisthesis": ("M43.1",),
        "finding/canal_stenosis": ("M48.0",),
        "finding/foraminal_stenosis": ("M99.6",),
        "finding/disc_degeneration": ("M50", "M51", "M53.3", "M99.5"),
        "finding/disc_displacement": ("M50", "M51", "M53.3", "M99.5"),
        "finding/osteophyte": ("M99.3", "M25.7"),
        "finding/facet_arthropathy": ("M47", "M99.3"),
        "finding/fracture": ("S12", "S22", "S32", "M80", "M84.4"),
        "finding/compression_fracture": ("S12", "S22", "S32", "M80", "M84.4", "M48.5"),
        "finding/discitis": ("M46.4",),
        "finding/osteomyelitis": ("M46.2",),
        "finding/sacroiliitis": ("M46.1",),
        "finding/enthesopathy": ("M46.0",),
        "finding/ankylosis": ("M43.2",),
        "finding/pseudarthrosis": ("M96.0", "T84.2"),
        "finding/surgical_fusion": ("Z98.1",),
        "finding/congenital_fusion": ("Q76.4", "Q74.2"),
        "finding/transitional_vertebra": ("Q76.4",),
        "finding/destructive_lesion": ("C41.4", "C79.5"),
        "finding/mass": ("C41.4", "D16.6"),
        "surgery/fusion": ("Z98.1",),
        "surgery/instrumentation": ("Z98.1",),
        "surgery/decompression": ("Z98.89",),
        "surgery/discectomy": ("Z98.89",),
        "surgery/vertebral_augmentation": ("Z98.89",),
        "surgery/disc_replacement": ("Z98.89",),
        "surgery/hardware_removal": ("Z98.89",),
        "surgery/neurostimulator": ("Z98.89",),
        "surgery/other": ("Z98.89",),
        "injury/current": ("S12", "S13", "S22", "S23", "S32", "S33"),
        "listhesis/named": ("M43.1",),
        "primary/fracture": ("M80", "M84.4"),
        "primary/degeneration": ("M53.3",),
    }
)

INJURY_REGIONS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "S1": ("occipito_atlanto_axial", "cervical", "cervicothoracic"),
        "S2": ("cervicothoracic", "thoracic", "thoracolumbar"),
        "S32.0": ("thoracolumbar", "lumbar", "lumbosacral"),
        "S32.1": ("sacral",),
        "S32.2": ("sacral",),
        "S33.0": ("lumbar", "lumbosacral"),
        "S33.1": ("lumbar", "lumbosacral"),
        "S33.2": ("sacral",),
        "S33.5": ("thoracolumbar", "lumbar", "lumbosacral"),
        "S33.6": ("sacral",),
        "S3": ("thoracolumbar", "lumbar", "lumbosacral", "sacral"),
    }
)
"""Chapter 19 has its own body regions: the spine's regions an injury code can stand for."""


ACUTE = frozenset({"acute", "mechanism/traumatic"})
RECURRENT = frozenset({"recurrent"})


def fits(code: str, fact: str, said: Iterable[str]) -> bool:
    """Whether `fact` ("concept/value") is coded under `code`, or `code` under what it is coded with.

    `said` are the fact's qualities and causes: one that recurs is no injury, one that is acute does not recur.
    """
    known = FACT_CODES.get(fact, ())
    words = set(said)
    if words & RECURRENT:
        known = tuple(stem for stem in known if not stem.startswith("S"))
    elif words & ACUTE:
        known = tuple(stem for stem in known if not stem.startswith(("M43.3", "M43.4", "M43.5")))
    return is_under(code, known) or any(stem.startswith(code) for stem in known)


def is_under(code: str, stems: Iterable[str]) -> bool:
    """Whether `code` is one of `stems` or stands under one."""
    return code.startswith(tuple(stems))


def injury_regions(code: str) -> tuple[str, ...]:
    """The regions the injury `code` can stand for, none when it is no injury of the spine; the longest stem wins."""
    stems = [stem for stem in INJURY_REGIONS if code.startswith(stem)]
    return INJURY_REGIONS[max(stems, key=len)] if stems else ()
