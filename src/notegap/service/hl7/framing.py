"""MLLP's frames: VT, the message, FS, CR; whatever pieces they come in, and whatever stands between them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

START, END = b"\x0b", b"\x1c\r"

_MOST_BETWEEN = 65_536
_HEAD = 4096


@dataclass(frozen=True, slots=True)
class Block:
    """What stood in one frame. `too_long`: it was longer than allowed, and `data` is only its beginning."""

    data: bytes = field(repr=False)
    too_long: bool = False


class Deframer:
    """Takes bytes as they come and gives the blocks that are whole.

    A block that is begun again was broken off before: what counts is what follows the last VT. `lost`: so much came
    that is no block that nothing more can be expected.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._buffer = bytearray()
        self._inside = False
        self._searched = 0
        self._too_long = False
        self._between = 0

    @property
    def inside(self) -> bool:
        """Whether a block was begun that is not ended."""
        return self._inside

    @property
    def lost(self) -> bool:
        """Whether what comes is no MLLP."""
        return self._between > _MOST_BETWEEN

    def feed(self, data: bytes) -> Iterator[Block]:
        """Add bytes; the blocks that end in them."""
        self._buffer += data
        while True:
            if not self._inside:
                start = self._buffer.find(START)
                self._between += len(self._buffer) if start < 0 else start
                del self._buffer[: len(self._buffer) if start < 0 else start + 1]
                if start < 0:
                    return
                self._inside, self._searched, self._too_long, self._between = True, 0, False, 0
            end = self._buffer.find(END, self._searched)
            if end < 0:
                self._shorten()
                # The end may be split over two pieces.
                self._searched = max(0, len(self._buffer) - 1)
                return
            block = bytes(self._buffer[:end])
            del self._buffer[: end + len(END)]
            self._inside = False
            whole = block.rpartition(START)[2]
            yield Block(whole[:_HEAD] if self._too_long else whole, self._too_long or len(whole) > self._max_bytes)

    def _shorten(self) -> None:
        """Keep only the beginning of a block that is too long, and its last byte, which may be half of its end."""
        if len(self._buffer) > self._max_bytes + _HEAD:
            self._too_long = True
            del self._buffer[_HEAD:-1]


def framed(message: bytes) -> bytes:
    """A message in a frame."""
    return START + message + END
