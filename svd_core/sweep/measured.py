"""A finished clip measured; done once, when nobody waits for it."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import SvdError

if TYPE_CHECKING:
    from ..camera.meter import Track
    from ..camera.stack import CameraStack
    from ..types import Frames

# Beyond this a clip is judged by its first frames: more would not fit beside what the host holds.
_MOST_BYTES = 2**30
_ASSUMED_RATE = Fraction(8)
# Working width of the displacement field; only its shape matters.
_WIDTH = 64


def measure_clip(clip: Path, asked: CameraStack | None) -> dict[str, Any]:
    """The track and the clip report as in `svd measure`, and `camera_error` where a camera was asked for.

    Raises:
        SvdError: the clip cannot be read, or is too short or too small to be measured.
    """
    import torch

    from ..types import Frames
    from ..video_io import iter_frames, probe

    info, held, frames = probe(clip), 0, list[torch.Tensor]()
    for frame in iter_frames(clip):
        frames.append(frame)
        held += frame.nbytes
        if held > _MOST_BYTES:
            break
    return measure_frames(Frames(torch.stack(frames), info.fps or _ASSUMED_RATE), asked)


def measure_frames(frames: Frames, asked: CameraStack | None) -> dict[str, Any]:
    """The same of frames at hand.

    Raises:
        SvdError: too short or too small to be measured.
    """
    import torch

    from ..camera.meter import measure
    from ..metrics import clip_report

    with torch.inference_mode():
        track = measure(frames)
        report = clip_report(frames, track).to_json()
        error = None if asked is None else camera_error(track, asked)
    told = {"per_second": track.per_second, "mean": track.mean, **report}
    return told if error is None else {**told, "camera_error": error}


def camera_error(track: Track, asked: CameraStack) -> float | None:
    """How far the camera was from what was asked: mean length, over all pixels and the pairs of frames the meter
    trusts, of the difference between the measured displacement and the one asked for, in % of the frame's width.

    None where nothing was asked that can be measured.
    """
    import torch

    from ..camera.path import CameraMotion, displacement
    from ..metrics.asked import asked_motion

    try:
        wanted, still = asked_motion(asked, track.frames, float(track.fps))
    except SvdError:
        # A range beyond the clip; the node that makes the move has said so already.
        return None
    if wanted is None and not still:
        return None
    seen = track.trusted
    if not bool(seen.any()):
        return None
    axes = ("pan", "tilt", "zoom", "roll")
    found = {name: getattr(track, name)[seen].to(torch.float64) for name in axes}
    goal = {
        name: torch.zeros_like(found[name]) if wanted is None else getattr(wanted, name).to(torch.float64)[seen]
        for name in axes
    }
    height = max(1, round(_WIDTH * track.height / track.width))
    moved, meant = (displacement(CameraMotion(**steps), height, _WIDTH) for steps in (found, goal))
    return float((moved - meant).norm(dim=-1).mean()) * 100 / _WIDTH
