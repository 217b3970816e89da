"""The code set, read from the tabular: titles, validity, site axes, Excludes both ways, code first, 7th characters.

codes = load()
codes.get("M53.2X6"), codes.at_site("M53.2X", "lumbar"), codes.excludes1_between("M99.24", "M43.5X8")
"""

from notegap.icd10cm.codeset import Code, CodeSet, ExcludesNote, Instruction, load, normalize
from notegap.icd10cm.sites import MULTIPLE, OTHER_SITES, UNSPECIFIED, is_spinal

__all__ = [
    "MULTIPLE",
    "OTHER_SITES",
    "UNSPECIFIED",
    "Code",
    "CodeSet",
    "ExcludesNote",
    "Instruction",
    "is_spinal",
    "load",
    "normalize",
]
