"""Whether a camera leaves what the first frame shows: the training-free way has nothing else to show.

What lies beyond the frame is filled by mirroring it, and what is magnified too far has too few pixels: sampled from
such pictures, a clip turns to haze. Nobody is kept from trying it; this file only says so.
"""

from __future__ import annotations

from ..errors import explain
from .path import CameraMotion, CameraPath, integrate
from .virtual import view_grid

# Of the view; usual amounts stay above it for the length of a clip, and mirrors make up twice as much below it.
_LEAST_KNOWN = 1 / 3
# Times; a side of the view then has a quarter of the first frame's pixels to show.
_MOST_GROWTH = 4.0
# Points a side at which a view is asked whether it lies in the first frame.
_POINTS = 24
_REMEDY = "Ask for less, make the clip shorter, or use a camera LoRA."


def caution(motion: CameraMotion, frames: int | None = None) -> str | None:
    """A sentence in three parts for a way `T-1` that leaves the first frame, None for one that does not.

    frames: so many are looked at, None for all. Sides are taken to be equal, which only a roll notices.
    """
    path = _beginning(integrate(motion, 1, 1), frames)
    grown = path.scale
    if float(grown.max()) > _MOST_GROWTH:
        first = int((grown > _MOST_GROWTH).nonzero()[0])
        found = f"{float(grown.max()):.3g} times, more than {_MOST_GROWTH:g} from frame {first} on"
        remedy = f"So small a part of it has no detail to show. {_REMEDY}"
        return explain(f"a camera that magnifies the first frame up to {_MOST_GROWTH:g} times", found, remedy)
    known = (view_grid(path, _POINTS, _POINTS).abs() <= 1).all(dim=-1).double().mean(dim=(-1, -2))
    if float(known.min()) >= _LEAST_KNOWN:
        return None
    first = int((known < _LEAST_KNOWN).nonzero()[0])
    found = f"{float(known.min()):.0%}, and less than a third from frame {first} on"
    remedy = f"What the frame does not show is mirrored and turns to haze. {_REMEDY}"
    return explain("a camera on whose way at least a third of the view lies in the first frame", found, remedy)


def _beginning(path: CameraPath, frames: int | None) -> CameraPath:
    pan, tilt, zoom, roll = (value[..., :frames] for value in (path.pan, path.tilt, path.zoom, path.roll))
    return CameraPath(pan=pan, tilt=tilt, zoom=zoom, roll=roll)
