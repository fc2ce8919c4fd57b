"""Hashes of large files, kept between runs: a checkpoint of gigabytes is read whole once, not once a resume."""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

from ..errors import SvdError
from ..video_io.atomic import atomic_file

_BLOCK = 2**20
# Smaller files are read again each time: that costs less than trusting a date.
SMALLEST_KEPT = 32 * 2**20
# A file may be written twice within one tick of a coarse clock (FAT counts in 2 s).
_SETTLED = 3.0
_MOST_KEPT = 1000


def file_hash(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal.

    Raises:
        OSError: it cannot be read.
    """
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def kept_hash(path: Path, store: Path | None = None, smallest: int | None = None) -> str:
    """`file_hash`, looked up in `store` for a large file whose size, dates and place on the disk are as they were.

    Large are those of `smallest` bytes, None for `SMALLEST_KEPT`.
    A file changed within the last seconds, or while it was read, is not kept. A store that cannot be read or written
    is none.

    Raises:
        OSError: the file cannot be read.
    """
    before = path.stat()
    if before.st_size < (SMALLEST_KEPT if smallest is None else smallest):
        return file_hash(path)
    store = store or default_store()
    name, sign = str(path.resolve()), _sign(before)
    known = _read(store).get(name)
    if isinstance(known, list) and known[:-1] == sign:
        return str(known[-1])
    found = file_hash(path)
    if _sign(path.stat()) == sign and abs(time.time() - before.st_mtime) > _SETTLED:
        _write(store, name, [*sign, found])
    return found


def default_store() -> Path:
    """The user's cache folder, as each system wants it."""
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or str(Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = str(Path.home() / "Library" / "Caches")
    else:
        base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "svd-studio" / "hashes.json"


def _sign(state: os.stat_result) -> list[int]:
    """What changes when a file does; a date that was set back still changes the inode's own."""
    return [state.st_size, state.st_mtime_ns, state.st_ctime_ns, state.st_ino]


def _read(store: Path) -> Mapping[str, Any]:
    try:
        tree = json.loads(store.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return cast("Mapping[str, Any]", tree) if isinstance(tree, dict) else {}


def _write(store: Path, name: str, entry: list[Any]) -> None:
    kept = {other: value for other, value in _read(store).items() if other != name}
    recent = dict([*kept.items(), (name, entry)][-_MOST_KEPT:])
    with suppress(SvdError), atomic_file(store) as temporary:
        temporary.write_text(json.dumps(recent), encoding="utf-8")
