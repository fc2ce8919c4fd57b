"""Finished frames to track, verdict and report: one call into the core, and its answers for the host."""

from __future__ import annotations

import json
from fractions import Fraction

import numpy as np
from torch import Tensor

from ..svd_core.camera.meter import Track, measure
from ..svd_core.camera.moves import UNITS
from ..svd_core.camera.stack import CameraStack
from ..svd_core.metrics import ClipReport, clip_report
from ..svd_core.metrics.asked import asked_motion
from ..svd_core.metrics.track_plot import track_plot
from ..svd_core.metrics.verdict import Verdict, verdict
from ..svd_core.types import Frames
from ..svd_core.video_io.images import decode_rgb


def measure_camera(images: Tensor, fps: float, camera: CameraStack | None) -> tuple[Tensor, str, str]:
    """Frames `T H W C` in [0, 1] -> plot `1 H W 3`, text, JSON.

    Raises:
        InputError: too few or too small frames, or a camera made for another length.
    """
    clip = Frames(images[..., :3].float().cpu(), Fraction(fps).limit_denominator(1001))
    track = measure(clip)
    report = clip_report(clip, track)
    asked, still = asked_motion(camera, len(clip), float(clip.fps)) if camera else (None, False)
    found = verdict(track, report, asked, still=still)
    plot = decode_rgb(np.asarray(track_plot(track, asked, found.sentence)))[None]
    facts = {**track.to_json(), **report.to_json(), "verdict": found.to_json()}
    return plot, _text(track, report, found), json.dumps(facts)


def _text(track: Track, report: ClipReport, found: Verdict) -> str:
    axes = [
        f"{axis}: {one.measured:+.3f} {UNITS[axis]} a frame, {one.measured * found.fps:+.2f} a second"
        for axis, one in found.axes.items()
    ]
    numbers = [
        f"subject motion: {report.subject_motion:.3f} % of width a frame, the camera taken out",
        f"flicker: {report.flicker:.3f} % of full range",
        f"colour drift: {report.colour_drift:.2f} (1 is just visible)",
        f"sharpness: {report.sharpness:.2f} of the first frame's",
    ]
    lost = int((~track.trusted).sum())
    notes = [f"In {lost} of {track.frames - 1} pairs of frames the picture was not found again."] if lost else []
    return "\n".join([found.sentence, *axes, *numbers, *notes])
