"""When Python looks for garbage that counting references does not find: reading a note leaves hardly any."""

from __future__ import annotations

import gc


def keep_what_lasts() -> None:
    """Leave what was built to itself, for a process that from now on reads one note after another.

    Looking through the pipeline for garbage takes as long as reading a note; so does looking many times in each note.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
