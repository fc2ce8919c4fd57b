"""`svd in-between`: pictures to the clip that leads through them. A stopped chain goes on where it was."""

from __future__ import annotations

import argparse
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputError, explain
from . import options as words
from .animate import add_clip, add_sampling, cautions, clip_settings_of
from .output import Console, show

if TYPE_CHECKING:
    from torch import Tensor

    from ..in_betweening.run import InBetween
    from ..in_betweening.settings import InBetweenSettings
    from ..weights.build import SvdModel

_MOST_RENOISES = 20


def add_parser(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Options of `svd in-between`."""
    parser = subparsers.add_parser(
        "in-between",
        help="the clip that leads from picture to picture",
        description="Make the clip that leads from picture to picture: K pictures give K - 1 gaps of --frames frames, "
        "each picture shown once. What is not given is the model's own default.",
    )
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="pictures in order, or a folder of them")
    parser.add_argument(
        "-o",
        "--out",
        required=True,
        metavar="OUT",
        help=".mp4, .webm, .gif or .webp (replaced if it exists), or a new folder for PNG frames",
    )
    parser.add_argument("--loop", action="store_true", help="lead back to the first picture; one picture is enough")
    parser.add_argument("--json", action="store_true", help="print one JSON document about the clip")
    words.add_model(parser)
    add_clip(parser)
    _add_between(parser)
    add_sampling(parser, solver=False)


def _add_between(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("in between")
    group.add_argument(
        "--method",
        default="vibid",
        metavar="vibid|mpd|trf",
        help="vibid (default) goes both ways in turn, mpd starts with the forward motion alone, trf fuses both ways",
    )
    group.add_argument(
        "--early",
        type=words.number("--early", 0, 1),
        metavar="X",
        help="share of the steps that mpd and trf treat apart, from the noisy end; default: 0.4",
    )
    group.add_argument(
        "--renoise",
        type=words.whole("--renoise", 0, _MOST_RENOISES),
        metavar="N",
        help="how often mpd and trf noise each of those again and repeat it; default: 1",
    )
    group.add_argument(
        "--distillation",
        type=words.number("--distillation", 0, 1),
        metavar="X",
        help="how far mpd leads the forward motion to the end picture; default: 0.5",
    )
    group.add_argument(
        "--flow-start",
        type=words.number("--flow-start", 0, 10),
        default=0.0,
        metavar="X",
        help="start from frames that follow the motion between the pictures, under so much noise: 1 is usual",
    )
    group.add_argument(
        "--framing", default="crop", metavar="crop|pad|blur|stretch", help="of pictures of another shape; default: crop"
    )
    group.add_argument(
        "--keep-ends",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="show the pictures themselves, bit for bit, not as the autoencoder sees them (default)",
    )
    group.add_argument(
        "--segments",
        type=Path,
        metavar="DIR",
        help="keep finished gaps there for good; else they lie beside OUT until the clip is done",
    )


def run(options: argparse.Namespace) -> int:
    """Make the clip."""
    from ..in_betweening.chain import Shelf
    from ..in_betweening.run import in_between_clip
    from ..pipeline import Watch
    from ..video_io import write_clip
    from .models import load

    console = Console.of(options)
    out, pictures = Path(options.out), words.pictures(options.images)
    _check(pictures, out, options.segments, loop=options.loop)
    settings = settings_of(options)
    images = [_read(picture, console) for picture in pictures]
    model = load(options, console)
    for caution in cautions(options, model.config.sampling):
        console.note(caution)
    shelf = Shelf(options.segments or out.with_name(f"{out.name}.gaps"))
    started = time.perf_counter()
    with console.progress(1, "sampling") as bar:

        def on_step(index: int, total: int) -> None:
            show(bar, index + 1, total)

        watch = Watch(on_step=lambda step: on_step(step.index, step.total), on_notice=console.note)
        made = in_between_clip(model, images, settings, shelf=shelf, decode_chunk=options.decode_chunk, watch=watch)
    record = _record(model, settings, made, pictures)
    write_clip(made.frames, out, record)
    if options.segments is None:
        shelf.clear(made.kept)
    seconds = round(time.perf_counter() - started, 3)
    clip = {"file": str(out), "frames": len(made.frames.pixels), "fps": str(made.frames.fps), "seconds": seconds}
    console.result({**clip, "gaps_reused": made.reused, "settings": record})
    if made.reused:
        console.say(f"{made.reused} of {len(made.kept)} gaps were there already")
    console.say(f"{out}  {len(made.frames.pixels)} frames  {seconds:.1f} s")
    return 0


def settings_of(options: argparse.Namespace) -> InBetweenSettings:
    """The settings asked for; names and curves are checked here, before a large model is read."""
    from ..errors import choose_from
    from ..framing import FRAMINGS
    from ..in_betweening.run import bounded_with
    from ..in_betweening.settings import InBetweenSettings

    if options.framing not in FRAMINGS:
        raise InputError(choose_from("--framing", options.framing, FRAMINGS))
    told = {name: getattr(options, name) for name in ("early", "renoise", "distillation")}
    return InBetweenSettings(
        clip=clip_settings_of(options),
        bounded=bounded_with(options.method, told),
        flow_start=options.flow_start,
        framing=options.framing,
        loop=options.loop,
        keep_ends=options.keep_ends,
    )


def _check(pictures: list[Path], out: Path, segments: Path | None, *, loop: bool) -> None:
    """What would fail after the work is found before it."""
    from ..in_betweening.chain import gaps
    from ..video_io import check_writable
    from ..video_io.writers import check_suffix

    gaps(len(pictures), loop=loop, seed=0)
    check_writable(out, folder=not check_suffix(out))
    if segments is not None:
        if segments.exists() and not segments.is_dir():
            remedy = "Name a folder, new or of this clip's gaps."
            raise InputError(explain("--segments as a folder for finished gaps", f"the file {segments}", remedy))
        check_writable(segments / "gap")
    if any(out.exists() and picture.exists() and out.samefile(picture) for picture in pictures):
        found = f"the picture {out} itself"
        raise InputError(explain("an output of another name than the pictures", found, "Choose another name."))


def _read(picture: Path, console: Console) -> Tensor:
    from ..video_io import read_picture

    read = read_picture(picture)
    for notice in read.notices:
        console.note(notice)
    return read.over()


def _record(model: SvdModel, settings: InBetweenSettings, made: InBetween, pictures: list[Path]) -> dict[str, Any]:
    from .models import versions
    from .render import recorded

    record = recorded(model, settings.clip, made.resolved)
    del record["solver"]
    return {
        "images": [picture.name for picture in pictures],
        **record,
        **asdict(settings.bounded),
        "flow_start": settings.flow_start,
        "framing": settings.framing,
        "loop": settings.loop,
        "keep_ends": settings.keep_ends,
        "versions": versions(),
    }
