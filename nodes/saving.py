"""Where clips go and what travels inside them; how they are encoded is svd_core's."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction
from pathlib import Path, PurePosixPath
from typing import Any, cast

from torch import Tensor

from ..svd_core.errors import InputError, explain
from ..svd_core.naming import fill_template
from ..svd_core.types import Frames
from ..svd_core.video_io import write_frames
from ..svd_core.video_io.codecs import Encoding
from .host import folder_paths, metadata_allowed, video, work_report

Graph = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Clip:
    """Frames `T H W 3` and their rate."""

    frames: Frames

    @staticmethod
    def split(images: Tensor, frames: int, fps: float) -> list[Clip]:
        """`(b t) H W C` -> clips of `frames`, or one of all.

        Raises:
            InputError: no whole number of clips, or no RGB.
        """
        length = frames or len(images)
        if not length or len(images) % length or images.shape[-1] not in (3, 4):
            found = f"{len(images)} images of {images.shape[-1]} channels"
            remedy = "Connect frames of SVD Decode, or set it to 0."
            raise InputError(explain(f"whole clips of {length} RGB frames", found, remedy))
        rate = Fraction(fps).limit_denominator(1001)
        return [Clip(Frames(part[..., :3], rate)) for part in images.split(length)]

    def video(self) -> object:
        """The host's VIDEO."""
        return video(self.frames.pixels, self.frames.fps)


@dataclass(frozen=True, slots=True, kw_only=True)
class Inside:
    """What a file says about its making: `tags` for ComfyUI's page, `settings` for programs, `values` for names."""

    tags: Mapping[str, str]
    settings: Mapping[str, object]
    values: Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedFile:
    """A file below the host's output folder."""

    path: str
    name: str
    subfolder: str


def graph_in_file(prompt: Graph | None, extra: Mapping[str, object] | None, notes: str) -> Inside:
    """The graph for the file, unless the user runs with --disable-metadata, and its values for the name."""
    graph = prompt or {}
    values = {**graph_values(graph), **_swept_values(graph)}
    if not metadata_allowed():
        return Inside(tags={}, settings={}, values=values)
    tags = {"prompt": json.dumps(graph)} if graph else {}
    tags |= {name: json.dumps(value) for name, value in (extra or {}).items()}
    settings: dict[str, object] = {"values": {name: value for name, value in values.items() if "." not in name}}
    return Inside(tags=tags, settings=settings | ({"notes": notes} if notes else {}), values=values)


def graph_values(graph: Graph) -> dict[str, object]:
    """Every plain value of the graph by the name of its input, the first where several nodes have it.

    `Node.input` is there for those; `stem` is the loaded picture's name.
    """
    values: dict[str, object] = {}
    for number in sorted(graph, key=lambda number: (len(number), number)):
        node = graph[number]
        kind = str(node.get("class_type", ""))
        for name, value in cast("Mapping[str, object]", node.get("inputs", {})).items():
            if isinstance(value, str | int | float):
                values.setdefault(name, value)
                values.setdefault(f"{kind}.{name}", value)
                if _is_picture(kind, name, node):
                    values.setdefault("stem", PurePosixPath(str(value)).stem)
    return values


def _swept_values(graph: Graph) -> dict[str, object]:
    """Of the cell a graph with sweep nodes stands at when it is queued the ordinary way."""
    from ..svd_core.sweep.graph import CELL, cell_values
    from .sweeping import find

    if all(node.get("class_type") != CELL for node in graph.values()):
        return {}
    found = cell_values(graph, find)
    values: dict[str, object] = {name: value for name, (_, value) in found.items()}
    for axis, value in found.values():
        if axis.kind == "images":
            values.setdefault("stem", PurePosixPath(str(value)).stem)
    return values


@dataclass(frozen=True, slots=True)
class CellMark:
    """Which cell of which sweep of this server a clip is."""

    sweep: str
    cell: str


def cell_of(prompt: Graph | None, node: str | None) -> CellMark | None:
    """The cell a sweep's feeder has written into the prompt at this node, None in any other prompt."""
    from ..svd_core.sweep.feeder import MARK

    mark = (prompt or {}).get(node or "", {}).get("inputs", {}).get(MARK)
    if not isinstance(mark, dict) or not all(isinstance(mark.get(name), str) for name in ("sweep", "cell")):
        return None
    return CellMark(mark["sweep"], mark["cell"])


def save_cell(clips: Sequence[Clip], mark: CellMark, kind: str, inside: Inside, encoding: Encoding) -> list[SavedFile]:
    """Write the clip of a sweep's cell into the sweep's folder and put it on record there.

    Raises:
        InputError: several clips, or a sweep that is not at work here.
        OutputError: the disk is full or failed.
    """
    from .sweeping import root, sweeps

    if len(clips) != 1:
        remedy = "Set frames of Save Clip to 0, or sweep over single pictures."
        raise InputError(explain("one clip a cell", f"{len(clips)}", remedy))
    (clip,) = clips
    pixels = clip.frames.pixels

    def write(target: Path, told: Mapping[str, object]) -> Mapping[str, object]:
        count, height, width, _ = pixels.shape
        facts = {"width": width, "height": height, "frames": count, "fps": f"{float(clip.frames.fps):g}"}
        settings = {**inside.settings, **facts, **told} if metadata_allowed() else {"cell": told["cell"]}
        frames = _watched(pixels, work_report(), 0, count)
        write_frames(frames, target, clip.frames.fps, settings, inside.tags, encoding)
        return settings

    file = sweeps().save(mark.sweep, mark.cell, "" if kind == "png" else f".{kind}", write)
    return _listed(file, os.path.join(root().name, mark.sweep, "cells"))


def _is_picture(kind: str, name: str, node: Mapping[str, Any]) -> bool:
    """Whether an input is the name of a picture that the node loads."""
    if kind == "SVDStudioSweepValue":
        return name == "value" and node["inputs"].get("kind") == "images"
    return name == "image" and kind.startswith("LoadImage")


def save_clips(clips: Sequence[Clip], template: str, kind: str, inside: Inside, encoding: Encoding) -> list[SavedFile]:
    """Write every clip under the next free numbers; a folder of PNG frames counts as its frames.

    Each clip is whole on disk before the next one starts, so cancelling keeps what is finished.

    Raises:
        InputError: a name that cannot be.
        OutputError: the disk is full or failed.
    """
    saved: list[SavedFile] = []
    report = work_report()
    for done, clip in enumerate(clips):
        pixels, fps = clip.frames.pixels, clip.frames.fps
        count, height, width, _ = pixels.shape
        facts = {"width": width, "height": height, "frames": count, "fps": f"{float(fps):g}"}
        name = fill_template(template, {**inside.values, **facts}, datetime.now())
        folder, stem, counter, subfolder, _ = folder_paths.get_save_image_path(
            name, folder_paths.get_output_directory(), width, height
        )
        target = Path(folder) / f"{stem}_{counter:05}_{'' if kind == 'png' else '.' + kind}"
        frames = _watched(pixels, report, count * done, count * len(clips))
        settings = {**inside.settings, **facts} if metadata_allowed() else {}
        write_frames(frames, target, fps, settings, inside.tags, encoding)
        saved += _listed(target, subfolder)
    return saved


def _watched(pixels: Tensor, report: Callable[[int, int], None], before: int, total: int) -> Iterator[Tensor]:
    """The frames one by one; cancelling takes effect between two of them."""
    for index, frame in enumerate(pixels):
        report(before + index, total)
        yield frame


def _listed(target: Path, subfolder: str) -> list[SavedFile]:
    if target.is_dir():
        inner = os.path.join(subfolder, target.name)
        return [SavedFile(path=str(file), name=file.name, subfolder=inner) for file in sorted(target.glob("*.png"))]
    return [SavedFile(path=str(target), name=target.name, subfolder=subfolder)]
