"""Outputs appear whole or not at all: written beside the final name, then renamed over it.

Whatever ends the writing early, Ctrl-C included, leaves nothing under the final name and no rest beside it.
"""

from __future__ import annotations

import errno
import os
import shutil
import time
import uuid
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from ..errors import InputError, OutputError, SvdError, explain

# Virus scanners and previewers on Windows hold a fresh file open for a moment: 0.05 s doubling to about 3 s in all.
_REPLACE_TRIES = 7
_FIRST_PAUSE = 0.05
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)


@contextmanager
def atomic_file(path: Path | str, *, folders: bool = True) -> Generator[Path, None, None]:
    """Yield a temporary name in the folder of `path`; on success it replaces `path`, on any failure it is removed.

    An existing file is overwritten, an existing folder is not. Missing parent folders are made if `folders`.

    Raises:
        InputError: the place allows no writing, is not there, or the name belongs to a folder.
        OutputError: the disk is full or failed.
    """
    target = Path(path)
    if os.path.isdir(target):
        raise InputError(explain("a file name to write to", f"the folder {target}", "Add a file name."))
    temporary = _temporary_name(target)
    try:
        if folders:
            target.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        _replace(temporary, target)
    except OSError as error:
        raise output_error(target, error) from error
    finally:
        # Nothing is left of it after the rename, so this line acts on failures only.
        _discard(temporary)


@contextmanager
def atomic_folder(path: Path | str) -> Generator[Path, None, None]:
    """Yield a new temporary folder that becomes `path` on success; `path` must be absent or an empty folder.

    Raises:
        InputError: `path` is a file or holds something, or the place allows no writing.
        OutputError: the disk is full or failed.
    """
    target = Path(path)
    _require_empty(target)
    temporary = _temporary_name(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary.mkdir()
        yield temporary
        if target.exists():
            target.rmdir()
        _replace(temporary, target)
    except OSError as error:
        raise output_error(target, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def check_writable(path: Path | str, *, folder: bool = False) -> None:
    """Fail before the long work, not after it: try to write beside `path` what will later be written.

    Raises:
        InputError: no file (or, with `folder`, no folder) can be made under this name.
        OutputError: the disk is full.
    """
    target = Path(path)
    if folder:
        _require_empty(target)
    elif os.path.isdir(target):
        raise InputError(explain("a file name to write to", f"the folder {target}", "Add a file name."))
    probe = _temporary_name(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"\0")
        # Asking for the name itself finds what the probe's own cannot: one that is too long, say.
        with suppress(FileNotFoundError):
            target.lstat()
    except OSError as error:
        raise output_error(target, error) from error
    finally:
        _discard(probe)


def output_error(path: Path, error: OSError) -> SvdError:
    """The sentence for a failed write to `path`."""
    if error.errno in _FULL:
        return OutputError(
            explain(f"room on the disk for {path}", "a full disk", "Free some space or write elsewhere.")
        )
    if error.errno in _FORBIDDEN:
        return InputError(
            explain(
                f"a place that can be written at {path}", error.strerror or "no permission", "Choose another place."
            )
        )
    if error.errno in (errno.ENOTDIR, errno.EEXIST, errno.ENAMETOOLONG, errno.EINVAL, errno.ENOENT):
        return InputError(
            explain(f"a possible file name, not {path}", error.strerror or str(error), "Choose another name.")
        )
    return OutputError(explain(f"to write {path}", str(error), "Check the disk and write again."))


def _require_empty(target: Path) -> None:
    if os.path.isdir(target) and any(target.iterdir()):
        raise InputError(
            explain("a new or empty folder for the frames", f"{target} with files in it", "Empty it or name another.")
        )
    if os.path.exists(target) and not os.path.isdir(target):
        raise InputError(explain("a folder for the frames", f"the file {target}", "Name a folder."))


def _temporary_name(target: Path) -> Path:
    return target.with_name(f".{target.name[:80]}.{uuid.uuid4().hex[:8]}.part")


def _discard(temporary: Path) -> None:
    with suppress(OSError):
        temporary.unlink()


def _replace(source: Path, target: Path) -> None:
    pause = _FIRST_PAUSE
    for _ in range(_REPLACE_TRIES - 1):
        try:
            os.replace(source, target)
            return
        except PermissionError:
            time.sleep(pause)
            pause *= 2
    os.replace(source, target)
