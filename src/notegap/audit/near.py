"""Notes whose words are nearly the same: signatures that can be compared, and bands by which candidates are found.

A signature is a MinHash of a note's runs of words. Notes are candidates when one of their bands is the same, and
nearly the same when their signatures say so. The nearly-same note of a note is the one that stands first in the input;
no order of work changes it, so that any engine finds the same.
"""

from __future__ import annotations

import hashlib
import re
import zlib
from collections.abc import Iterable, Sequence
from functools import cache

import numpy as np

THRESHOLD = 0.85
"""How much of their runs of words two notes share, at least, to be nearly the same."""

_RUN = 3  # words
_PERMUTATIONS = 128
_BANDS = 16
_BYTES = 4 * _PERMUTATIONS // _BANDS
_AT_ONCE = 4096
_WORD = re.compile(r"\w+")


def signature(text: str) -> bytes:
    """What a text's words are like, in 512 bytes; "" for a text without words."""
    words = _WORD.findall(text.lower())
    if not words:
        return b""
    runs = set(map(" ".join, zip(*(words[start:] for start in range(_RUN)), strict=False)))
    from datasketch import MinHash  # takes long to import, and only who signs needs it

    sketch = MinHash(_PERMUTATIONS, hashfunc=zlib.crc32, permutations=_permutations())
    # Encoded all at once; no word has a line end in it.
    encoded = "\n".join(runs or (" ".join(words),)).encode("utf-8", "surrogatepass").split(b"\n")
    for start in range(0, len(encoded), _AT_ONCE):
        sketch.update_batch(encoded[start : start + _AT_ONCE])
    return bytes(sketch.hashvalues.astype("<u4").tobytes())


def bands(signed: bytes) -> tuple[int, ...]:
    """The bands of a signature as whole numbers of 64 bits with a sign; none for an empty one."""
    return tuple(
        int.from_bytes(
            hashlib.blake2b(signed[start : start + _BYTES], digest_size=8, salt=start.to_bytes(16, "little")).digest(),
            "little",
            signed=True,
        )
        for start in range(0, len(signed), _BYTES)
    )


def similarity(one: bytes, other: bytes) -> float:
    """How much of their runs of words the notes of two signatures share, from 0 to 1."""
    same = np.frombuffer(one, "<u4") == np.frombuffer(other, "<u4")
    return float(np.count_nonzero(same)) / _PERMUTATIONS


def nearest(signed: bytes, candidates: Iterable[tuple[int, bytes]]) -> tuple[int, float] | None:
    """Of the (row, signature) of candidates the first row that is nearly the same, and how nearly."""
    alike = ((row, similarity(signed, other)) for row, other in sorted(candidates))
    return next(((row, share) for row, share in alike if share >= THRESHOLD), None)


@cache
def _permutations() -> Sequence[Sequence[int]]:
    from datasketch import MinHash

    found: Sequence[Sequence[int]] = MinHash(_PERMUTATIONS, seed=1).permutations
    return found
