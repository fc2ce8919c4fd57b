"""`svd measure`: what the camera did in a finished clip, and how steady, stable and sharp it is."""

from __future__ import annotations

import argparse
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..camera.moves import AXES, POSITIVE, UNITS
from ..errors import InputError, explain
from . import options as words
from .output import Console

if TYPE_CHECKING:
    from torch import Tensor

    from ..types import Frames

# Larger frames are reduced while they are read: the meter gains nothing from more, and memory would grow with them.
_LONGEST_SIDE = 1024
_MOST_BYTES = 6 * 2**30
# Pictures in a folder without a stored rate; only the values per second depend on it.
_ASSUMED_RATE = Fraction(24)


def add_parser(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Options of `svd measure`."""
    parser = subparsers.add_parser("measure", help="measure camera motion and quality of a clip", description=__doc__)
    parser.add_argument("path", metavar="VIDEO|FOLDER", help="mp4, webm, gif, webp, or a folder of pictures")
    parser.add_argument(
        "--fps", type=words.rate("--fps"), metavar="RATE", help="playback rate, where the file has none"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document, with the values of every frame")


def run(options: argparse.Namespace) -> int:
    """Measure and print."""
    from ..camera.meter import measure
    from ..metrics import clip_report

    console = Console.of(options)
    clip = read(Path(options.path), options.fps, console)
    track = measure(clip)
    facts: dict[str, Any] = {**track.to_json(), **clip_report(clip, track).to_json()}
    console.result(facts)
    console.say(f"{options.path}: {len(clip)} frames at {float(clip.fps):g} frames a second")
    pairs, lost = len(clip) - 1, int((~track.trusted).sum())
    if lost == pairs:
        console.say("The camera could not be measured: no frame shows enough of the one before.")
    else:
        console.table(("camera", "per frame", "per second", "unit"), _rows(facts))
    for key in ("motion", "flicker", "colour_drift", "sharpness"):
        console.say(f"{key.ljust(12)}  {facts[key]:.3f}")
    if 0 < lost < pairs:
        console.say(f"In {lost} of {pairs} pairs of frames the picture was not found again; they do not count.")
    if facts["cuts"]:
        console.say(f"cuts at frames {', '.join(str(frame) for frame in facts['cuts'])}")
    return 0


def _rows(facts: dict[str, Any]) -> list[tuple[str, str, str, str]]:
    """The camera table."""
    return [
        (
            axis,
            f"{facts['mean'][axis]:+.3f}",
            f"{facts['per_second'][axis]:+.3f}",
            f"{UNITS[axis]}, {POSITIVE[axis]} is +",
        )
        for axis in AXES
    ]


def read(path: Path, fps: Fraction | None, console: Console) -> Frames:
    """The clip at a working size of at most 1024 pixels a side.

    Raises:
        InputError: no clip, too short or too long to be held in memory.
        FileFormatError: damaged.
    """
    import torch

    from ..types import Frames
    from ..video_io import iter_frames, probe

    info = probe(path)
    rate = fps or info.fps
    if rate is None:
        rate = _ASSUMED_RATE
        console.note(f"{path} stores no rate; {rate} frames a second are assumed (--fps says otherwise).")
    frames: list[Tensor] = []
    held = 0
    with console.progress(info.frames or 0, "reading") as bar:
        for frame in iter_frames(path):
            frames.append(_reduced(frame))
            held += frames[-1].nbytes
            if held > _MOST_BYTES:
                found = f"more than {len(frames)} in {path}"
                raise InputError(explain("a clip that fits into memory", found, "Cut it into shorter clips."))
            bar.update()
    if len({tuple(frame.shape) for frame in frames}) > 1:
        raise InputError(explain(f"frames of one size in {path}", "several sizes", "Remove or resize the odd ones."))
    if len(frames) < words.MIN_FRAMES:
        found = f"{len(frames)} in {path}"
        raise InputError(explain("at least 2 frames to measure motion between", found, "Give a longer clip."))
    return Frames(torch.stack(frames), rate)


def _reduced(frame: Tensor) -> Tensor:
    """`H W 3` -> the same with no side above the limit."""
    import torch.nn.functional as F

    height, width, _ = frame.shape
    scale = _LONGEST_SIDE / max(height, width)
    if scale >= 1:
        return frame
    size = (max(1, round(height * scale)), max(1, round(width * scale)))
    return F.interpolate(frame.permute(2, 0, 1)[None], size, mode="bilinear", antialias=True)[0].permute(1, 2, 0)
