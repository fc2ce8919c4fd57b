"""`svd demo`: the embedded model on a bundled picture, with three amounts of motion, and directed."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputError, explain
from . import options as words
from .output import Console, to_json

if TYPE_CHECKING:
    from ..weights.build import SvdModel
    from .render import Rendered

_ASSETS = Path(__file__).parent.parent / "assets"
_BUCKETS = {"low": 48, "mid": 90, "high": 127}
_SEEDS = (1, 2)
# No faster than the shipped LoRAs were measured to be at strength 1 (assets/MODEL_CARD.md). None of them zooms: that
# is the training-free fallback's work.
_MOVES = ("static", "pan_left:7", "tilt_up:7", "zoom_in:8")
# A clip below this many pixels is enlarged by a whole factor for the player.
_COMFORTABLE_SIDE = 256


@dataclass(frozen=True, slots=True)
class Take:
    """One clip of the demo: a name for its file, an amount of motion, a seed, and the camera move if any."""

    name: str
    motion_bucket: int
    seed: int
    camera: str | None = None

    @property
    def label(self) -> str:
        """What the sheet says."""
        camera = "" if self.camera is None else f"camera {self.camera}, "
        return f"{camera}motion bucket {self.motion_bucket}, seed {self.seed}"


def add_parser(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Options of `svd demo`."""
    parser = subparsers.add_parser(
        "demo",
        help="clips and a contact sheet from the embedded model, to see that all works",
        description="Ten clips of one picture (three amounts of motion with two seeds, four camera moves), a contact "
        "sheet and a report.",
    )
    parser.add_argument("--out", default="svd-demo", metavar="DIR", help="where to write; default: svd-demo")
    parser.add_argument("--image", metavar="FILE", help="a picture of your own instead of the bundled one")
    parser.add_argument("--json", action="store_true", help="print the report as one JSON document")
    words.add_model(parser)


def run(options: argparse.Namespace) -> int:
    """Make the clips, the sheet and the report, and say where they lie."""
    from ..video_io import check_writable, read_image
    from .models import load

    console = Console.of(options)
    started = time.perf_counter()
    out = Path(options.out)
    check_writable(out / "report.json")
    picture = Path(options.image) if options.image else bundled_picture()
    pixels = read_image(picture)
    model = load(options, console)
    clips: list[tuple[Take, Rendered, dict[str, Any]]] = []
    for take in takes():
        rendered = _render(model, pixels, picture, out, take, console)
        clips.append((take, rendered, _measured(rendered)))
        console.say(f"{rendered.path.name.ljust(24)} {rendered.seconds:5.1f} s   {_summary(clips[-1][2])}")
    sheet = _sheet(model, out, clips)
    report = _report(clips, sheet, time.perf_counter() - started)
    _write_text(out / "report.json", to_json(report))
    console.result(report)
    console.say(f"\nContact sheet: {sheet}\nReport:        {out / 'report.json'}\nAll results:   {out.resolve()}")
    return 0


def takes() -> Iterator[Take]:
    """What the demo shows, in the order of the sheet."""
    for name, bucket in _BUCKETS.items():
        for seed in _SEEDS:
            yield Take(f"motion_{name}_seed_{seed}", bucket, seed)
    for move in _MOVES:
        # With little motion of its own, so that what is seen is the camera.
        yield Take(f"camera_{move.partition(':')[0]}", _BUCKETS["low"], _SEEDS[0], move)


def bundled_picture() -> Path:
    """The first picture that came with the package.

    Raises:
        InputError: none came.
    """
    pictures = sorted(_ASSETS.glob("*.png"))
    if not pictures:
        remedy = "Install the package again, or give a picture with --image."
        raise InputError(explain("a bundled picture in this installation", f"none in {_ASSETS}", remedy))
    return pictures[0]


def _render(model: SvdModel, pixels: Any, picture: Path, out: Path, take: Take, console: Console) -> Rendered:  # noqa: ANN401 - a tensor, without importing torch for --help
    from ..camera.stack_text import parse_moves
    from ..settings import AnimateSettings
    from .render import render

    camera = parse_moves([] if take.camera is None else [take.camera])
    sampling = model.config.sampling
    return render(
        model,
        pixels,
        out / f"{take.name}.mp4",
        AnimateSettings(motion_bucket=take.motion_bucket, seed=take.seed, camera=camera),
        console=console,
        label=take.name,
        source={"image": picture.name},
        enlarge=max(1, _COMFORTABLE_SIDE // min(sampling.width, sampling.height)),
    )


def _measured(rendered: Rendered) -> dict[str, Any]:
    """Camera track and clip report of the frames as the model made them."""
    from ..camera.meter import measure
    from ..metrics import clip_report

    track = measure(rendered.frames)
    lost = int((~track.trusted).sum())
    return {**track.to_json(), **clip_report(rendered.frames, track).to_json(), "pairs_lost": lost}


def _summary(measured: dict[str, Any]) -> str:
    """The numbers in a line; pairs in which the meter found no camera are not in them, so they are counted."""
    mean, lost = measured["mean"], measured["pairs_lost"]
    numbers = f"motion {measured['motion']:.2f} %, pan {mean['pan']:+.2f} %, zoom {mean['zoom']:+.2f} % a frame"
    return f"{numbers}; {lost} of {measured['frames'] - 1} pairs not recognised" if lost else numbers


def _sheet(model: SvdModel, out: Path, clips: list[tuple[Take, Rendered, dict[str, Any]]]) -> Path:
    from ..sheet import SheetRow, write_sheet

    rows = [SheetRow(take.label, _summary(measured), rendered.frames.pixels) for take, rendered, measured in clips]
    first = clips[0][1]
    title = (
        f"{model.config.name}: {first.settings['frames']} frames of {first.settings['size']} at {first.frames.fps} fps"
    )
    return write_sheet(rows, out / "sheet.png", title=title, metadata={"image": first.settings["image"]})


def _report(clips: list[tuple[Take, Rendered, dict[str, Any]]], sheet: Path, seconds: float) -> dict[str, Any]:
    from .models import versions

    entries = [
        {
            "file": rendered.path.name,
            "settings": rendered.settings,
            "seed": take.seed,
            "seconds": round(rendered.seconds, 3),
            "track": measured,
        }
        for take, rendered, measured in clips
    ]
    return {"clips": entries, "sheet": sheet.name, "seconds": round(seconds, 3), "versions": versions()}


def _write_text(path: Path, text: str) -> None:
    from ..video_io import atomic_file

    with atomic_file(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")
