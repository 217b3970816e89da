"""Compressed files: gzip streams and zip archives, unpacked as they are read and never to more than they may be.

A file that unpacks to far more than its size is a bomb: all that comes out of one outermost file, archives inside it
included, is counted against what went in. Nothing is ever unpacked under a name that the archive gives.
"""

from __future__ import annotations

import gzip
import io
import lzma
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import PurePosixPath
from typing import IO, BinaryIO, cast

from notegap.errors import NoteError

GZIP = b"\x1f\x8b"
ZIP = (b"PK\x03\x04", b"PK\x05\x06")
DEEPEST = 3
"""How deep archives may stand inside archives."""

_MOST_TIMES = 200  # text shrinks to a tenth, copies of one note to a hundredth
_FREE = 64 * 1024 * 1024
_MOST_FILES = 250_000
_IN_MEMORY = 8 * 1024 * 1024
_DAMAGED = (
    EOFError,
    zlib.error,
    lzma.LZMAError,
    gzip.BadGzipFile,
    zipfile.BadZipFile,
    NotImplementedError,
    RuntimeError,
    ValueError,
    struct.error,
)
"""What gzip and zipfile raise on files that are cut off, damaged, locked or made up; it may quote them."""


class Budget:
    """How much may come out of one outermost file, by what went in."""

    def __init__(self) -> None:
        self.taken = 0
        self.given = 0
        self._size: int | None = None

    def known(self, size: int) -> None:
        """What went in is a file of this size, parts of which may be read more than once."""
        self._size = size

    @property
    def spent(self) -> bool:
        """Whether too much came out."""
        took = self.taken if self._size is None else self._size
        return self.given > _FREE and self.given > took * _MOST_TIMES

    def give(self, size: int, where: str) -> None:
        """Count what came out; raise `NoteError` when it is too much."""
        self.given += size
        if self.spent:
            raise NoteError(f"{where}: unpacks to more than {_MOST_TIMES} times its size; it is taken for a zip bomb")


class Unpacked(io.RawIOBase):
    """A compressed stream as what it holds."""

    def __init__(self, file: IO[bytes], budget: Budget, where: str) -> None:
        self._file = file
        self._budget = budget
        self._where = where

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: object) -> int:
        """Fill a buffer; raises `NoteError` for a damaged file or a bomb."""
        view = memoryview(cast(bytearray, buffer))
        with reading(self._where):
            data = self._file.read(len(view))
        self._budget.give(len(data), self._where)
        view[: len(data)] = data
        return len(data)

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()
        super().close()


class Counted(io.RawIOBase):
    """A raw file that counts what is read of it, for a budget and for whoever shows progress."""

    def __init__(self, file: IO[bytes], budget: Budget) -> None:
        self._file = file
        self._budget = budget

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """As the file is."""
        return self._file.seekable()

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """As in the file."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """As in the file."""
        return self._file.tell()

    def readinto(self, buffer: object) -> int:
        """Fill a buffer and count."""
        view = memoryview(cast(bytearray, buffer))
        data = self._file.read(len(view))
        view[: len(data)] = data
        self._budget.taken += len(data)
        return len(data)

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()
        super().close()


@contextmanager
def reading(where: str) -> Iterator[None]:
    """Tell what gzip and zip raise in our words."""
    problem = ""
    try:
        yield
    except _DAMAGED as error:
        locked = isinstance(error, RuntimeError) and not isinstance(error, NotImplementedError)
        problem = "is locked with a password" if locked else "is a compressed file that is cut off or damaged"
        if isinstance(error, NotImplementedError):
            problem = "is compressed in a way that is not read; gzip, deflate, bzip2 and LZMA are"
    if problem:
        raise NoteError(f"{where}: {problem}")


def gunzipped(file: BinaryIO, budget: Budget, where: str) -> BinaryIO:
    """What a gzip stream holds."""
    inner = gzip.GzipFile(fileobj=file, mode="rb")
    return cast(BinaryIO, io.BufferedReader(Unpacked(cast(IO[bytes], inner), budget, where)))


def spooled(file: BinaryIO, where: str) -> BinaryIO:
    """A stream as a file in which one can go back; a big one is a temporary file without a name."""
    if file.seekable():
        return file
    copy = cast(BinaryIO, tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY))  # noqa: SIM115 - the caller's
    try:
        while chunk := file.read(1024 * 1024):
            copy.write(chunk)
    except BaseException:
        copy.close()
        raise
    copy.seek(0)
    return copy


def opened(file: BinaryIO, where: str) -> zipfile.ZipFile:
    """A zip archive."""
    with reading(where):
        archive = zipfile.ZipFile(file)
        if len(archive.infolist()) > _MOST_FILES:
            raise NoteError(f"{where}: holds more than {_MOST_FILES:,} files; unpack it and give the folder")
        return archive
    raise AssertionError


def members(archive: zipfile.ZipFile) -> Iterator[zipfile.ZipInfo]:
    """The files of an archive by their names; hidden ones and those that systems add are left out."""
    for entry in sorted(archive.infolist(), key=lambda entry: entry.filename):
        parts = PurePosixPath(entry.filename).parts
        if (
            not entry.is_dir()
            and parts
            and not any(part.startswith((".", "__MACOSX")) for part in parts if part != "..")
        ):
            yield entry


def member(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, budget: Budget, where: str) -> BinaryIO:
    """One file of an archive as a stream."""
    with reading(where):
        return cast(BinaryIO, io.BufferedReader(Unpacked(archive.open(entry), budget, where)))
    raise AssertionError


def visible(name: str) -> str:
    """A name as an archive gives it, as text of one line: it comes from anywhere."""
    return "".join(char if char.isprintable() else "\ufffd" for char in name)


def is_document(archive: zipfile.ZipFile) -> bool:
    """Whether an archive is no archive of files but a document of an office program."""
    names = archive.namelist()
    return "[Content_Types].xml" in names or names[:1] == ["mimetype"]
