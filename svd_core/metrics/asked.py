"""What a camera stack asks the finished frames to show, whatever carried its moves out."""

from __future__ import annotations

from dataclasses import replace

from ..camera.path import CameraMotion
from ..camera.stack import CameraStack, resolve


def asked_motion(stack: CameraStack, frames: int, fps: float) -> tuple[CameraMotion | None, bool]:
    """The planar steps `T-1` of all moves that have a preset, and whether a held camera is asked for.

    A LoRA without a preset says nothing about its motion and is left out; None if nothing remains that moves.

    Raises:
        InputError: a move's range lies outside the clip.
    """
    named = tuple(replace(move, lora=None) for move in stack.moves if move.preset is not None)
    moving = tuple(move for move in named if move.preset != "static")
    if not moving:
        return None, bool(named)
    return resolve(CameraStack(moving), frames, fps, None).planar, False
