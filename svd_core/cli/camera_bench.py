"""`svd bench camera`: do the camera LoRAs, and the way without them, do what they say on pictures nobody trained on?

Every clip of every case is a line of a file, so the bench goes on where it was stopped and grows with `--clips`.
Two judges: our meter, and OpenCV's RANSAC fit of tracked corners where OpenCV is installed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ..camera.meter import Track, measure
from ..errors import InputError, explain
from ..training.camera_clips import ClipSize
from ..training.camera_trials import columns_of
from ..types import Frames
from ..video_io.atomic import output_error
from ..weights.build import SvdModel
from .camera_cases import CHUNK, Case, clips_of
from .ransac import columns_by_opencv, opencv_available, opencv_track

JUDGES = ("meter", "opencv")
LINES_NAME = "camera.jsonl"


def run_cases(
    model: SvdModel, cases: Sequence[Case], clips: int, file: Path, tell: Callable[[int, int], None]
) -> list[dict[str, Any]]:
    """Render and judge what the file does not hold yet; returns all lines of these cases."""
    sampling = model.config.sampling
    size = ClipSize(frames=sampling.frames, height=sampling.height, width=sampling.width)
    lines = read_lines(file)
    done = {(line["name"], line["clip"]) for line in lines}
    total, count = len(cases) * clips, 0
    # A few clips of all cases before the next few: stopped anywhere, the file holds a table of what all have.
    for first in range(0, clips, CHUNK):
        for case in cases:
            wanted = [index for index in range(first, min(clips, first + CHUNK)) if (case.name, index) not in done]
            if wanted:
                lines += _chunk(model, case, wanted, size, file)
            count += min(clips, first + CHUNK) - first
            tell(count, total)
    names = {case.name for case in cases}
    return [line for line in lines if line["name"] in names and line["clip"] < clips]


def claim(file: Path, of: str) -> None:
    """Make sure that the lines of a file are readings of `of`; a new file begins by saying whose they are.

    Raises:
        InputError: they are another's, or the file cannot be written.
        OutputError: the disk is full.
    """
    held = _whole_lines(file)
    owner = held[0].get("of") if held else of
    if owner != of:
        found = f"those of {owner or 'an unknown model'} in {file}"
        raise InputError(explain(f"readings of {of}", found, "Give another --out."))
    try:
        if not held:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps({"of": of}) + "\n", encoding="utf-8")
        elif not file.read_bytes().endswith(b"\n"):
            # The next line must not be glued to one that was cut short.
            with file.open("a", encoding="utf-8") as stream:
                stream.write("\n")
    except OSError as error:
        raise output_error(file, error) from error


def read_lines(file: Path) -> list[dict[str, Any]]:
    """The readings an earlier run left; a half-written line is dropped."""
    return [line for line in _whole_lines(file) if "name" in line]


def _whole_lines(file: Path) -> list[dict[str, Any]]:
    if not file.is_file():
        return []
    lines: list[dict[str, Any]] = []
    for text in file.read_text(encoding="utf-8").splitlines():
        try:
            lines.append(json.loads(text))
        except ValueError:
            continue
    return lines


def _chunk(model: SvdModel, case: Case, wanted: Sequence[int], size: ClipSize, file: Path) -> list[dict[str, Any]]:
    """Neighbouring clips of a case, judged and written down."""
    indices = range(wanted[0], wanted[-1] + 1)
    made = zip(indices, clips_of(model, case, size, indices), strict=True)
    lines = [_judged(case, index, clip) for index, clip in made if index in wanted]
    with file.open("a", encoding="utf-8") as stream:
        stream.write("".join(json.dumps(line) + "\n" for line in lines))
    return lines


def _judged(case: Case, index: int, clip: Frames) -> dict[str, Any]:
    """A line: the columns by judge, and for curves every step of the axis."""
    track = measure(clip)
    line: dict[str, Any] = {"name": case.name, "clip": index, "meter": columns_of(clip, track)}
    if case.curved:
        line["meter steps"] = _steps(track)
    if opencv_available():
        seen = opencv_track(clip)
        line["opencv"] = columns_by_opencv(clip, seen)
        if case.curved:
            line["opencv steps"] = _steps(seen)
    return line


def _steps(track: Track) -> list[float]:
    return [round(value, 5) for value in track.pan.tolist()]
