"""What a file is when it is not safetensors, told by its first bytes, and what its owner can do about it."""

from __future__ import annotations

from dataclasses import dataclass

_CONVERT = (
    "Pickle files can run any code when opened, so they are never opened here: get the .safetensors release of "
    "this model, or convert it on a machine you trust."
)
_WRONG_FILE = "Give the model's .safetensors file."
_DOWNLOAD = (
    "The download saved a web page instead of the model: log in or accept the licence there, then fetch it again."
)


@dataclass(frozen=True, slots=True)
class Identity:
    """A recognised format by `name`, and the sentence that says what to do."""

    name: str
    remedy: str


_PICKLE = Identity("a Python pickle", _CONVERT)
_SIGNATURES: tuple[tuple[bytes, Identity], ...] = (
    (b"PK\x03\x04", Identity("a zip archive (most likely a PyTorch pickle: .ckpt, .pt, .bin)", _CONVERT)),
    *((bytes([0x80, protocol]), _PICKLE) for protocol in range(2, 6)),
    (b"GGUF", Identity("a GGUF file", "Quantised GGUF files are not supported: use the .safetensors release.")),
    (b"version https://git-lfs", Identity("a Git LFS pointer", "Run `git lfs pull` to fetch the file it stands for.")),
    (b"\x89PNG", Identity("a PNG image", _WRONG_FILE)),
    (b"\xff\xd8\xff", Identity("a JPEG image", _WRONG_FILE)),
    (b"GIF8", Identity("a GIF image", _WRONG_FILE)),
    (b"RIFF", Identity("a WebP, WAV or AVI file", _WRONG_FILE)),
    (b"\x1a\x45\xdf\xa3", Identity("a WebM or Matroska video", _WRONG_FILE)),
    (b"\x93NUMPY", Identity("a NumPy array", _WRONG_FILE)),
    (b"\x89HDF", Identity("an HDF5 file", _WRONG_FILE)),
    (b"\x1f\x8b", Identity("a gzip archive", "Unpack it first.")),
    (b"7z\xbc\xaf", Identity("a 7z archive", "Unpack it first.")),
    (b"Rar!", Identity("a RAR archive", "Unpack it first.")),
    (b"<!", Identity("a web page", _DOWNLOAD)),
    (b"<html", Identity("a web page", _DOWNLOAD)),
    (b"{", Identity("a JSON text", _WRONG_FILE)),
)


def what_is(head: bytes) -> Identity | None:
    """Identify a file by its first bytes; None when they say nothing."""
    if not head:
        return Identity("an empty file", "The download or copy stopped before it began: fetch it again.")
    if len(head) >= 8 and not any(head):
        return Identity(
            "a file that begins with zeros", "The download reserved its space but never finished: fetch it again."
        )
    if head[4:8] == b"ftyp":
        return Identity("an MP4 video", _WRONG_FILE)
    text = head.lstrip().lower()
    for magic, identity in _SIGNATURES:
        if head.startswith(magic) or text.startswith(magic.lower()):
            return identity
    return None
