"""One camera move, chained to those before it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..svd_core.camera.curves import EASES, parse_ease
from ..svd_core.camera.presets import PRESETS, find_preset
from ..svd_core.seeds import LAST_SEED
from ..svd_core.sweep.entries import SAVED
from . import camera_files
from .choices import listed, verdict
from .host import io

if TYPE_CHECKING:
    from ..svd_core.camera.move import CameraStack, Move

_CUSTOM = "custom"
_MOST_FRAMES = 1024


class SVDStudioCameraMove(io.ComfyNode):
    """A preset with its amount, range and ease, as SVD_CAMERA."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Inputs and outputs as the host shows them."""
        return io.Schema(
            node_id="SVDStudioCameraMove",
            display_name="SVD Camera Move",
            category="SVD Studio",
            description="One move of the camera: which way, how fast, over which frames and how it starts and ends. "
            "Chain several to make them together, or join them one after another with SVD Camera Join.",
            inputs=[*_what(), *_when(), *_more()],
            outputs=[io.Custom("SVD_CAMERA").Output("camera_out", display_name="camera", tooltip="The moves so far.")],
        )

    @classmethod
    def validate_inputs(
        cls,
        preset: str | None = None,
        amount: float | None = None,
        first_frame: int | None = None,
        last_frame: int | None = None,
        ease: str | None = None,
        points: str | None = None,
        first_step: float | None = None,
        last_step: float | None = None,
    ) -> bool | str:
        """Whatever can be judged before a clip is known."""
        return verdict(
            lambda: listed("preset", preset, _presets()),
            lambda: listed("ease", ease, [*EASES, _CUSTOM]),
            lambda: parse_ease(points or "") if ease == _CUSTOM and points is not None else None,
            lambda: _check_numbers(amount, first_frame, last_frame, first_step, last_step),
        )

    @classmethod
    def fingerprint_inputs(cls, preset: str = "", **rest: object) -> str:
        """A saved camera counts as changed when its file is."""
        return camera_files.fingerprint(preset.removeprefix(SAVED)) if preset.startswith(SAVED) else ""

    @classmethod
    def execute(
        cls,
        preset: str,
        amount: float,
        first_frame: int,
        last_frame: int,
        ease: str,
        points: str = "",
        first_step: float = 0.0,
        last_step: float = 1.0,
        shake_seed: int = 0,
        camera: CameraStack | None = None,
    ) -> io.NodeOutput:
        from ..svd_core.camera.move import CameraStack, mix

        before = camera or CameraStack()
        if preset.startswith(SAVED):
            return io.NodeOutput(mix(before, camera_files.load(preset.removeprefix(SAVED))))
        frames = None if (first_frame, last_frame) == (0, -1) else (first_frame, last_frame)
        curve = parse_ease(points if ease == _CUSTOM else ease)
        steps = (first_step, last_step)
        move = _move(preset, amount, frames=frames, ease=curve, steps=steps, seed=shake_seed)
        return io.NodeOutput(mix(before, CameraStack((move,))))


def _move(preset: str, amount: float, **when: object) -> Move:
    """Holding still has no speed: the amount is left out there."""
    from ..svd_core.camera.move import Move

    return Move(preset=preset, amount=None if preset == "static" else amount, **when)  # type: ignore[arg-type]


def _presets() -> list[str]:
    return [*PRESETS, *(SAVED + name for name in camera_files.names())]


def _check_numbers(
    amount: float | None, first: int | None, last: int | None, first_step: float | None, last_step: float | None
) -> None:
    from ..svd_core.camera.move import Move
    from ..svd_core.errors import InputError, explain

    Move(preset="static", amount=amount)
    if first is not None and last is not None and last != -1 and last <= first:
        remedy = "Use -1 for the end of the clip."
        raise InputError(explain("`last_frame` after `first_frame`", f"{first} to {last}", remedy))
    if first_step is not None and last_step is not None:
        Move(preset="static", steps=(first_step, last_step))


def _what() -> list[io.Input]:
    moves = "; ".join(f"{name} {find_preset(name).does}" for name in PRESETS)
    return [
        io.Combo.Input(
            "preset",
            options=_presets(),
            default="pan_left",
            tooltip=f"The move. {moves}. Truck, pedestal, dolly and orbit need a depth image for parallax; without "
            "one they are done as pans, tilts and zooms. A saved camera brings all its moves as they are; the other "
            "inputs then only say what comes before it.",
        ),
        io.Float.Input(
            "amount",
            default=12.0,
            min=-200.0,
            max=200.0,
            step=0.5,
            tooltip="Mean speed, negative for the other way. Pan, truck: % of the frame's width a second; tilt, "
            "pedestal: % of its height; zoom, dolly: % a second on a log scale; roll, orbit: degrees a second; "
            "handheld: how far it sways, in tenths of a % of the width. static takes none.",
        ),
    ]


def _when() -> list[io.Input]:
    return [
        io.Int.Input(
            "first_frame",
            default=0,
            min=0,
            max=_MOST_FRAMES,
            tooltip="Frame the move begins at; the clip's first is 0. In a joined camera the part's first.",
        ),
        io.Int.Input(
            "last_frame",
            default=-1,
            min=-1,
            max=_MOST_FRAMES,
            tooltip="Frame the move ends at, included; -1 is the end of the clip. The camera then stays where it is.",
        ),
        io.Combo.Input(
            "ease",
            options=[*EASES, _CUSTOM],
            default="linear",
            tooltip="How the way is spread over these frames: linear (even), in (slow start), out (slow end), in-out "
            "(both), hold (all of it in the first half, then rest), custom (by the points below).",
        ),
    ]


def _more() -> list[io.Input]:
    return [
        io.String.Input(
            "points",
            default="0:0, 0.5:0.2, 1:1",
            optional=True,
            tooltip="Only for the custom ease: place:part of the way, places from 0 (first frame) to 1 (last frame). "
            "1:0 at the end comes back, parts above 1 overshoot.",
        ),
        io.Float.Input(
            "first_step",
            default=0.0,
            min=0.0,
            max=1.0,
            step=0.05,
            optional=True,
            tooltip="Part of the sampling at which a LoRA of this move sets in; 0 is the first step. The layout of a "
            "clip is made in the early steps.",
        ),
        io.Float.Input(
            "last_step",
            default=1.0,
            min=0.0,
            max=1.0,
            step=0.05,
            optional=True,
            tooltip="Part of the sampling at which it ends; 1 is after the last step. 0.6 leaves the detail to the "
            "model.",
        ),
        io.Int.Input(
            "shake_seed",
            default=0,
            min=0,
            max=LAST_SEED,
            optional=True,
            tooltip="Only for handheld: which sway. The same seed sways the same way at any frame rate.",
        ),
        io.Custom("SVD_CAMERA").Input(
            "camera", optional=True, tooltip="Moves made together with this one, from another camera node."
        ),
    ]
