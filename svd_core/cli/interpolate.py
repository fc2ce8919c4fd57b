"""`svd interpolate`: a clip at another frame rate, looped or eased, from file to file in constant memory."""

from __future__ import annotations

import argparse
import time
import uuid
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import FileFormatError, InputError, explain
from . import options as words
from .engines import add_rife_options, add_svd_options
from .output import Console

if TYPE_CHECKING:
    from torch import Tensor

    from ..interpolation import Plan, Report
    from ..video_io import ClipInfo


def add_parser(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Options of `svd interpolate`."""
    parser = subparsers.add_parser("interpolate", help="a clip at another frame rate", description=__doc__)
    parser.add_argument("input", metavar="IN", help="mp4, webm, gif, webp, or a folder of pictures")
    parser.add_argument("output", metavar="OUT", help="mp4, webm, gif, webp; no suffix means a folder of PNG frames")
    _add_times(parser)
    group = parser.add_argument_group("pictures")
    group.add_argument(
        "--engine",
        default="flow",
        metavar="flow[:FILE]|blend|nearest|rife:FILE|svd[:FILE]",
        help="flow follows motion (default; FILE is a refiner of `svd train refiner`), blend cross-fades, nearest "
        "repeats frames, rife runs the "
        "RIFE weights in FILE (.pth, .pkl, .safetensors, versions 4.0 to 4.26), svd is the video network of "
        "`svd train interpolator` (without FILE the embedded model's, made for 64 x 64 pixels)",
    )
    add_svd_options(group)
    add_rife_options(group)
    group.add_argument(
        "--cut-guard",
        nargs="?",
        const="hold",
        default="hold",
        metavar="hold|nearest|blend|off",
        help="what stands between two shots; hold (default) repeats the last frame of the first, off morphs them",
    )
    group.add_argument("--dedupe", action="store_true", help="take repeated frames (animation on twos) as one")
    group.add_argument("--pairs", default="", metavar="LIST", help="source frames such as 0-10,15, see --pairs-mode")
    group.add_argument(
        "--pairs-mode",
        default="skip",
        metavar="only|skip",
        help="interpolate after those frames only, or everywhere else (default: skip)",
    )
    group.add_argument("--no-sound", action="store_true", help="leave the sound of the source out")
    group.add_argument("--device", default="auto", help="cpu, cuda, cuda:1, mps; default: a GPU if there is one")
    parser.add_argument("--json", action="store_true", help="print one JSON document about the result")


def _add_times(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("time")
    group.add_argument(
        "--factor",
        type=words.factor("--factor"),
        metavar="N",
        help="frames for one source frame: 2, 2.5, 60/24; default 2",
    )
    group.add_argument("--fps", type=words.rate("--fps"), metavar="RATE", help="target rate; instead of --factor")
    group.add_argument(
        "--source-fps", type=words.rate("--source-fps"), metavar="RATE", help="rate of the source, where none is stored"
    )
    group.add_argument("--times", default="", metavar="LIST", help="instead: times between two frames, 0.25,0.5,0.75")
    group.add_argument("--ease", default="linear", metavar="linear|in|out|in-out", help="speed over the whole clip")
    group.add_argument("--loop", action="store_true", help="lead the last frame back to the first")
    group.add_argument("--ping-pong", action="store_true", help="play there and back, as a loop")
    group.add_argument("--keep-duration", action="store_true", help="hold the last frame: N frames become N x factor")


def run(options: argparse.Namespace) -> int:
    """Read, retime and write, frame by frame."""
    from ..interpolation import Report
    from ..video_io import probe
    from ..video_io.writers import holds_alpha

    console = Console.of(options)
    source, target = Path(options.input), Path(options.output)
    _check_output(source, target)
    info = probe(source)
    rate = _source_rate(options, info, console)
    plan = _plan(options, rate)
    count = _count(source, info, console)
    report, started = Report(), time.perf_counter()
    alpha = info.alpha and holds_alpha(target)
    if info.alpha and not alpha:
        console.note(
            f"{target.suffix} holds no transparency; the frames are laid over black (webm, webp, PNG keep it)."
        )
    sound = _write(options, console, plan, rate, count, report, alpha=alpha)
    facts: dict[str, Any] = {
        "input": str(source),
        "output": str(target),
        "fps_in": float(rate),
        "fps_out": float(rate * plan.rate),
        "engine": options.engine,
        "sound": sound,
        "seconds": round(time.perf_counter() - started, 3),
        **asdict(report),
    }
    console.result(facts)
    for line in report.lines():
        console.say(line)
    console.say(f"{target}: {report.frames} frames at {float(rate * plan.rate):g} frames a second")
    return 0


def _check_output(source: Path, target: Path) -> None:
    from ..video_io import check_writable
    from ..video_io.writers import check_suffix

    suffix = check_suffix(target)
    if target.resolve() == source.resolve():
        raise InputError(explain("an output beside the input", f"{target} for both", "Name another file."))
    check_writable(target, folder=not suffix)


def _source_rate(options: argparse.Namespace, info: ClipInfo, console: Console) -> Fraction:
    rate = options.source_fps or info.fps
    if rate is not None:
        return rate
    if options.fps is not None:
        raise InputError(explain("the source's rate", f"none stored in {options.input}", "Give --source-fps."))
    console.note(f"{options.input} stores no rate; 24 frames a second are assumed (--source-fps says otherwise).")
    return Fraction(24)


def _plan(options: argparse.Namespace, rate: Fraction) -> Plan:
    from ..interpolation import Plan, parse_pairs, parse_times, to_rate

    given = [name for name in ("factor", "fps", "times") if getattr(options, name)]
    if len(given) > 1:
        found = " and ".join(f"--{name}" for name in given)
        raise InputError(explain("one of --factor, --fps and --times", found, "Leave out the others."))
    if options.loop and options.ping_pong:
        raise InputError(explain("one of --loop and --ping-pong", "both", "Leave out one."))
    return Plan(
        factor=to_rate(rate, options.fps) if options.fps else options.factor or Fraction(2),
        loop="ping-pong" if options.ping_pong else "close" if options.loop else "off",
        keep_duration=options.keep_duration,
        times=parse_times(options.times),
        ease=options.ease,
        dedupe=options.dedupe,
        pairs=parse_pairs(options.pairs),
        pairs_mode=options.pairs_mode,
    )


def _count(source: Path, info: ClipInfo, console: Console) -> int:
    """The true number of frames: containers guess, so video is decoded once to know."""
    from ..video_io import iter_frames

    if source.is_dir():
        return info.frames or 0
    with console.progress(info.frames or 0, "counting") as bar:
        count = 0
        for _ in iter_frames(source):
            count += 1
            bar.update()
    return count


def _write(
    options: argparse.Namespace,
    console: Console,
    plan: Plan,
    rate: Fraction,
    count: int,
    report: Report,
    *,
    alpha: bool,
) -> str | None:
    """Write the result; returns the codec of the sound that went along."""
    from ..interpolation import retime
    from ..interpolation.audio import add_sound, sound_of
    from ..video_io import atomic_file, iter_frames, read_metadata, write_frames
    from ..video_io.revisiting import in_any_order
    from .engines import resolve_engine
    from .models import resolve_device

    source, target = Path(options.input), Path(options.output)
    device = resolve_device(options.device)
    engine = resolve_engine(options, device)
    there_and_back = plan.loop == "ping-pong"
    made = retime(
        in_any_order(source, count, alpha=alpha) if there_and_back else iter_frames(source, alpha=alpha),
        count,
        plan,
        engine=engine,
        cut_guard=options.cut_guard,
        device=device,
        report=report,
    )
    container = target.suffix.lower().lstrip(".")
    sound = sound_of(source, container) if plan.keeps_time and not options.no_sound else None
    settings = {**read_metadata(source), "interpolated": engine if isinstance(engine, str) else engine.name}
    out_rate = rate * plan.rate
    with console.progress(plan.count(count), "interpolating") as bar:

        def pixels() -> Iterator[Tensor]:
            for shown in made:
                yield shown.pixels
                bar.update()

        if sound is None:
            write_frames(pixels(), target, out_rate, settings)
            return None
        silent = target.with_name(f".{target.stem[:60]}.{uuid.uuid4().hex[:8]}{target.suffix}")
        try:
            write_frames(pixels(), silent, out_rate, settings)
            try:
                with atomic_file(target) as temporary:
                    add_sound(silent, source, temporary, container)
            except FileFormatError as error:
                silent.replace(target)
                console.note(f"{target} has no sound. {error}")
                return None
        finally:
            with suppress(OSError):
                silent.unlink()
    return sound
