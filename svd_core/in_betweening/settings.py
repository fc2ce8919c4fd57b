"""What may be asked of a clip between pictures, and how the gaps in it are filled."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from ..config import ModelConfig
from ..errors import InputError, explain
from ..sampling import Bounded
from ..settings import AnimateSettings, ResolvedSettings, resolve
from .chain import Gap


@dataclass(frozen=True, slots=True, kw_only=True)
class InBetweenSettings:
    """Everything `in_between` can be told.

    clip: what a gap shares with any clip; its `frames` count both pictures, its solver and camera are not used.
    bounded: the method. flow_start: 0, or how much noise hides the flow engine's frames that sampling starts from.
    framing: how pictures of another shape are fitted, see `frame_picture`. loop: lead the last picture back to the
    first. keep_ends: put the pictures themselves where they stand in the clip, bit for bit.
    """

    clip: AnimateSettings = field(default_factory=AnimateSettings)
    bounded: Bounded = field(default_factory=Bounded)
    flow_start: float = 0.0
    framing: str = "crop"
    loop: bool = False
    keep_ends: bool = True


def resolved_for(config: ModelConfig, settings: InBetweenSettings, gap: Gap) -> ResolvedSettings:
    """The settings of a gap's two directions: two clips that share seed and noise.

    Raises:
        InputError: as in `settings.resolve`, for fewer than two frames, and for a model that knows no motion.
    """
    if config.family != "svd":
        remedy = "Use svd or svd_xt: SV3D goes round an object and knows no motion."
        raise InputError(explain("a model that goes by motion", config.family, remedy))
    guidance = settings.clip.guidance
    if guidance is None and settings.bounded.method != "trf":
        # CFG++ interpolates, and its published sampler leaves the weight at 1; a fused step takes the usual curve.
        guidance = "constant:1"
    resolved = resolve(replace(settings.clip, seed=[gap.seed, gap.seed], guidance=guidance), config, 2)
    if resolved.frames < 2:
        raise InputError(explain("`frames` of 2 and more", str(resolved.frames), "Both pictures are frames too."))
    return resolved
