"""The camera's words on the command line: presets, camera files, LoRA files, where to look for tagged ones, depth."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import InputError, SvdError, explain
from . import options as words

if TYPE_CHECKING:
    from torch import Tensor

    from ..camera.move import CameraStack, Move
    from ..weights.camera_files import CameraFiles


def add_camera(parser: argparse.ArgumentParser) -> None:
    """Options that direct the camera."""
    group = parser.add_argument_group("camera")
    group.add_argument(
        "--camera",
        action="append",
        default=[],
        metavar="PRESET[:amount[:a-b[:ease]]]",
        help="a move, repeatable: static, handheld, pan_left, tilt_up, zoom_in, roll_cw, truck_right, pedestal_up, "
        "dolly_in, orbit_left and their opposites; amount in %% of the frame (roll, orbit: degrees) a second, for "
        "handheld how far it sways in tenths of a %%, over frames a to b, both included, with an ease (linear, in, "
        "out, in-out, hold); or a saved camera FILE.json",
    )
    group.add_argument(
        "--camera-lora",
        action="append",
        default=[],
        metavar="FILE[:strength]",
        help="a camera LoRA, repeatable; strength 1 if not given",
    )
    group.add_argument(
        "--camera-folder",
        action="append",
        default=[],
        metavar="FOLDER",
        help="where tagged LoRAs for the presets are looked for first, repeatable",
    )
    group.add_argument(
        "--depth",
        metavar="IMAGE",
        help="depth of the picture, white is near: gives truck, pedestal, dolly and orbit parallax",
    )
    group.add_argument(
        "--freedom",
        metavar="X",
        type=words.number("--freedom", 0.1, 10),
        default=1.0,
        help="for moves without a LoRA: above 1 the subject moves more and the camera follows less; default: 1",
    )


def camera_of(options: argparse.Namespace) -> CameraStack:
    """The moves asked for; files are read here, before a model is.

    Raises:
        InputError: a preset that does not exist (with the list), an amount or range that makes no sense, no such file.
        FileFormatError: a file is no camera or no LoRA.
    """
    from ..camera.move import CameraStack, mix

    stacks = [_words(text) for text in options.camera]
    loras = CameraStack(tuple(_lora(text) for text in options.camera_lora))
    return mix(*stacks, loras)


def finder_of(options: argparse.Namespace) -> CameraFiles:
    """Who knows the LoRAs of the presets.

    Raises:
        InputError: a folder that is none.
    """
    from ..weights.camera_files import CameraFiles

    folders = [Path(folder) for folder in options.camera_folder]
    for folder in folders:
        if not folder.is_dir():
            raise InputError(explain("--camera-folder as a folder", str(folder), "Name one that exists."))
    return CameraFiles(folders)


def depth_of(options: argparse.Namespace) -> Tensor | None:
    """The depth image `H W 3` in [0, 1]."""
    if options.depth is None:
        return None
    from ..video_io import read_image

    return read_image(Path(options.depth))


def _words(text: str) -> CameraStack:
    from ..camera.move import CameraStack
    from ..camera.stack_text import from_json, parse_move
    from ..weights.lora import load_camera_lora

    if not text.lower().endswith(".json"):
        return CameraStack((parse_move(text),))
    path = Path(text)
    try:
        written = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        remedy = "Name a camera that was saved, or a preset."
        raise InputError(explain("a camera file that can be read", f"{path} ({error})", remedy)) from error
    try:
        # A name with a folder in it would let a camera from anywhere read files from everywhere.
        return from_json(written, lambda name: load_camera_lora(path.parent / f"{Path(name).name}.safetensors"))
    except SvdError as error:
        raise type(error)(f"In {path}: {error}") from error


def _lora(text: str) -> Move:
    """`FILE[:strength]`; a colon in front of anything but a number belongs to the file's name (`C:\\loras\\pan`)."""
    from ..camera.move import Move
    from ..weights.lora import load_camera_lora

    file, colon, tail = text.rpartition(":")
    try:
        strength = float(tail) if colon else None
    except ValueError:
        strength = None
    return Move(lora=load_camera_lora(text if strength is None else file), amount=strength)
