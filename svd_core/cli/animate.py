"""`svd animate`: pictures to clips. One bad picture costs its own clip only."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import Cancelled, InputError, SvdError, explain
from ..seeds import LAST_SEED
from . import options as words
from .camera import add_camera, camera_of, depth_of, finder_of
from .output import Console
from .retiming import Retiming, add_retiming

if TYPE_CHECKING:
    from ..config import SamplingDefaults
    from ..settings import AnimateSettings
    from ..weights.build import SvdModel
    from .render import Rendered

# Areas further from the native one than this factor get a warning.
_FAR = 1.6
_FORMATS = ("mp4", "webm", "gif", "webp", "png")


def add_parser(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Options of `svd animate`."""
    parser = subparsers.add_parser(
        "animate",
        help="turn pictures into clips",
        description="Turn pictures into clips. What is not given is the model's own default.",
    )
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="pictures, or folders of them")
    parser.add_argument(
        "-o",
        "--out",
        required=True,
        metavar="OUT",
        help="for one picture .mp4, .webm, .gif or .webp (replaced if it exists), or a new folder for PNG frames; "
        "for several pictures a folder that gets one clip named after each",
    )
    parser.add_argument(
        "--format", choices=_FORMATS, default="mp4", help="of the clips of several pictures; default: mp4"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document about the clips")
    words.add_model(parser)
    add_clip(parser)
    add_camera(parser)
    add_sampling(parser)
    add_retiming(parser)


def add_clip(parser: argparse.ArgumentParser) -> None:
    """What a clip is: size, length, rate, motion."""
    group = parser.add_argument_group("clip")
    group.add_argument("--size", type=words.size, metavar="WxH", help="pixels, e.g. 1024x576")
    group.add_argument(
        "--frames",
        metavar="N",
        type=words.whole("--frames", words.MIN_FRAMES, words.MAX_FRAMES),
        help="length of the clip",
    )
    group.add_argument(
        "--fps",
        metavar="N",
        type=words.whole("--fps", 1, 1000),
        help="frames a second: what the network is told and what the file plays at",
    )
    group.add_argument(
        "--playback-fps",
        metavar="RATE",
        type=words.rate("--playback-fps"),
        help="what the file plays at, where it should differ",
    )
    group.add_argument(
        "--motion-bucket", metavar="N", type=words.number("--motion-bucket", 0, 255), help="amount of motion, 0 to 255"
    )
    group.add_argument(
        "--augmentation",
        metavar="X",
        type=words.number("--augmentation", 0, 10),
        help="noise put on the picture: more frees the motion and loses detail",
    )


def add_sampling(parser: argparse.ArgumentParser, *, solver: bool = True) -> None:
    """How a clip is sampled; `solver` where there is a choice of them."""
    group = parser.add_argument_group("sampling")
    group.add_argument("--seed", metavar="N", type=words.whole("--seed", 0, LAST_SEED), default=0, help="default: 0")
    group.add_argument("--steps", metavar="N", type=words.whole("--steps", 1, words.MAX_STEPS), help="sampling steps")
    # The names are listed by hand because asking the solvers for them would cost help an import of torch.
    if solver:
        help_text = "euler, euler_ancestral, heun, dpmpp_2m, animatelcm; default: the model's own"
        group.add_argument("--solver", metavar="NAME", help=help_text)
    group.add_argument(
        "--schedule", metavar="NAME", help="karras, align_your_steps, animatelcm; default: what suits the solver"
    )
    group.add_argument(
        "--guidance",
        metavar="CURVE",
        help="strength over the frames: linear:1:2.5, or triangle, trapezoid, cosine, hold instead of linear, "
        "or constant:2",
    )
    group.add_argument(
        "--decode-chunk",
        metavar="N",
        type=words.whole("--decode-chunk", 1, words.MAX_FRAMES),
        help="frames decoded at a time: fewer take less memory",
    )


def run(options: argparse.Namespace) -> int:
    """Make the clips; 0 if all were made."""
    console = Console.of(options)
    pictures = words.pictures(options.images)
    targets = plan_outputs(pictures, Path(options.out), options.format)
    settings = settings_of(options)
    Retiming.of(options)  # refuses before a large model is read
    from .models import load

    model = load(options, console)
    for caution in cautions(options, model.config.sampling):
        console.note(caution)
    done: list[dict[str, Any]] = []
    failed: list[dict[str, str]] = []
    for picture, target in zip(pictures, targets, strict=True):
        try:
            rendered = render_one(model, picture, target, settings, options, console, {"image": picture.name})
        except Cancelled:
            raise
        except SvdError as error:
            if len(pictures) == 1:
                raise
            failed.append({"image": str(picture), "error": str(error)})
            console.note(f"{picture} failed: {error}")
            continue
        done.append({"image": str(picture), **_entry(rendered)})
        console.say(f"{rendered.path}  {rendered.seconds:.1f} s")
    console.result({"clips": done, "failed": failed})
    return _close(done, failed)


def plan_outputs(pictures: list[Path], out: Path, clip_format: str) -> list[Path]:
    """Where each clip goes; everything that would fail after the rendering is found before it.

    Raises:
        InputError: a suffix that is no clip's, several pictures for one file, or a place that cannot be written.
        OutputError: the disk is full.
    """
    from ..video_io import CLIP_SUFFIXES, check_writable
    from ..video_io.writers import check_suffix

    if len(pictures) == 1:
        check_writable(out, folder=not check_suffix(out))
        _spare_pictures(pictures, [out])
        return [out]
    if out.suffix.lower() in CLIP_SUFFIXES or out.is_file():
        remedy = "Name a folder, or give a single picture."
        raise InputError(explain(f"a folder for {len(pictures)} clips", str(out), remedy))
    suffix = "" if clip_format == "png" else f".{clip_format}"
    targets = [out / f"{name}{suffix}" for name in _distinct([picture.stem for picture in pictures])]
    for target in targets:
        check_writable(target, folder=not suffix)
    _spare_pictures(pictures, targets)
    return targets


def _spare_pictures(pictures: list[Path], targets: list[Path]) -> None:
    """A picture may be a gif or webp too, and its clip must not replace it."""
    for target in targets:
        if any(target.exists() and picture.exists() and target.samefile(picture) for picture in pictures):
            found = f"the picture {target} itself"
            raise InputError(explain("an output of another name than the pictures", found, "Choose another name."))


def cautions(options: argparse.Namespace, native: SamplingDefaults) -> Iterator[str]:
    """What may be asked of the model but was not in its training."""
    if options.frames is not None and options.frames > native.frames:
        yield f"{options.frames} frames are more than the {native.frames} this model was trained on: motion may decay."
    if options.size is not None:
        ratio = options.size[0] * options.size[1] / (native.width * native.height)
        if not 1 / _FAR <= ratio <= _FAR:
            yield f"Quality falls away from this model's own size of {native.width}x{native.height} pixels."


def _distinct(names: list[str]) -> list[str]:
    """Number what would collide, also on file systems that do not tell capitals apart."""
    taken: set[str] = set()
    result: list[str] = []
    for name in names:
        candidate, number = name, 2
        while candidate.lower() in taken:
            candidate, number = f"{name}-{number}", number + 1
        taken.add(candidate.lower())
        result.append(candidate)
    return result


def settings_of(options: argparse.Namespace) -> AnimateSettings:
    """The settings asked for; names, curves and camera files are checked here, before a large model is read."""
    from ..sampling import get_solver

    if options.solver is not None:
        get_solver(options.solver)
    return replace(
        clip_settings_of(options),
        solver=options.solver,
        camera=camera_of(options),
        find_lora=finder_of(options),
        depth=depth_of(options),
        camera_freedom=options.freedom,
    )


def clip_settings_of(options: argparse.Namespace) -> AnimateSettings:
    """What `add_clip` and `add_sampling` ask for, but the solver."""
    from ..sampling import make_schedule, parse_guidance
    from ..settings import AnimateSettings

    if options.schedule is not None:
        make_schedule(options.schedule, options.steps or 2, 0.002, 700.0)
    return AnimateSettings(
        size=options.size,
        frames=options.frames,
        fps=options.fps,
        playback_fps=options.playback_fps,
        motion_bucket=options.motion_bucket,
        augmentation=options.augmentation,
        seed=options.seed,
        steps=options.steps,
        schedule=options.schedule,
        guidance=None if options.guidance is None else parse_guidance(options.guidance),
    )


def render_one(
    model: SvdModel,
    picture: Path,
    target: Path,
    settings: AnimateSettings,
    options: argparse.Namespace,
    console: Console,
    source: dict[str, Any],
) -> Rendered:
    """One picture to one clip; `source` is recorded inside it, beside the settings.

    Raises:
        SvdError: the picture, the rendering or the writing failed.
    """
    from ..video_io import read_picture
    from .render import render

    read = read_picture(picture)
    for notice in read.notices:
        console.note(notice)
    return render(
        model,
        read.over(),
        target,
        settings,
        console=console,
        label=picture.name,
        source=source,
        decode_chunk=options.decode_chunk,
        retiming=Retiming.of(options),
    )


def _entry(rendered: Rendered) -> dict[str, Any]:
    return {
        "file": str(rendered.path),
        "seconds": round(rendered.seconds, 3),
        "fps": str(rendered.frames.fps),
        "settings": rendered.settings,
    }


def _close(done: list[dict[str, Any]], failed: list[dict[str, str]]) -> int:
    if not failed:
        return 0
    names = ", ".join(entry["image"] for entry in failed[:5])
    raise SvdError(f"{len(failed)} of {len(done) + len(failed)} pictures failed: {names}. The other clips are whole.")
