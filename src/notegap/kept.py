"""What is made of files that seldom change, kept for the next start: making it takes most of a second.

It lies in the user's cache folder under a name that is the hash of all it was made of, notegap's own code included: it
cannot be out of date. Nothing of a note is in it. Where it cannot be kept, it is made anew at each start.
"""

from __future__ import annotations

import copyreg
import hashlib
import io
import os
import pickle
import stat
import sys
import tempfile
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

T = TypeVar("T")

_MOST = 4
"""How many of one kind are kept: of notegap's own files, and with the directories that a user adds in turn."""
_PACKAGE = Path(__file__).resolve().parent
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


def kept(kind: str, made_of: Iterable[bytes], make: Callable[[], T]) -> T:
    """What `make` makes of `made_of` and of nothing else but notegap's code; made only where none is kept yet.

    It must be of classes that pickle takes, read-only mappings included. What `make` raises is raised.
    """
    code, folder = _code(), cache_folder()
    if not code or folder is None:
        return make()
    name = hashlib.sha256(code)
    for each in made_of:
        name.update(hashlib.sha256(each).digest())
    path = folder / f"{kind}-{name.hexdigest()[:32]}.pickle"
    data = _read(path)
    if data is not None:
        found: T = pickle.loads(data)  # noqa: S301 - this user wrote it, and it is whole: see _read
        return found
    made = make()
    with suppress(OSError):
        _write(path, _pickled(made))
    return made


def cache_folder() -> Path | None:
    """Where this user's programs keep what they can make again; None for a user who has no such place."""
    given = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA")
    try:
        return (Path(given) if given else Path.home() / ".cache") / "notegap"
    except RuntimeError:
        return None


@lru_cache(maxsize=1)
def _code() -> bytes:
    """The hash of the Python and of the code that makes what is kept; empty where the code is in no files."""
    files = [_PACKAGE / "model.py", *sorted(_PACKAGE.glob("knowledge/*.py")), *sorted(_PACKAGE.glob("extract/*.py"))]
    found = hashlib.sha256(sys.version.encode())
    try:
        for file in files:
            found.update(hashlib.sha256(file.read_bytes()).digest())
    except OSError:
        return b""
    return found.digest()


def _read(path: Path) -> bytes | None:
    """What is kept at `path`, where it is whole and nobody but this user can have written it."""
    try:
        with path.open("rb") as file:
            state = os.fstat(file.fileno())
            ours = not hasattr(os, "geteuid") or state.st_uid == os.geteuid()
            if not ours or state.st_mode & _OTHERS_WRITE:
                return None
            digest, data = file.read(32), file.read()
    except OSError:
        return None
    return data if hashlib.sha256(data).digest() == digest else None


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
        new = Path(file.name)
        try:
            file.write(hashlib.sha256(data).digest() + data)
            file.close()
            new.replace(path)
        except OSError:
            new.unlink()
            raise
    kind = path.name.partition("-")[0]
    newest = sorted(path.parent.glob(f"{kind}-*.pickle"), key=lambda one: one.stat().st_mtime_ns)
    for old in newest[:-_MOST]:
        old.unlink(missing_ok=True)


def _pickled(made: object) -> bytes:
    buffer = io.BytesIO()
    pickler = pickle.Pickler(buffer, pickle.HIGHEST_PROTOCOL)
    pickler.dispatch_table = {**copyreg.dispatch_table, MappingProxyType: _parts_of_mapping}
    pickler.dump(made)
    return buffer.getvalue()


def _parts_of_mapping(mapping: MappingProxyType[Any, Any]) -> tuple[Callable[..., object], tuple[dict[Any, Any]]]:
    return _read_only, (dict(mapping),)


def _read_only(mapping: dict[Any, Any]) -> MappingProxyType[Any, Any]:
    return MappingProxyType(mapping)
