"""VideoInterpolator: the one inflated UNet, told two key frames and asked for what lies between them.

The paper describes the masked form and published no weights (Blattmann et al. 2023, appendix D.5); the residual form
is what a small network learns in minutes (training/README.md).
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from einops import rearrange, repeat
from torch import Tensor, nn

from ..config import InterpolatorConfig
from ..errors import InputError, WeightsMismatchError, explain
from ..operations import TORCH, Operations
from .unet import VideoUNet

_INPUT = "input_blocks.0.0.weight"
_STILL = 1e-4


class VideoInterpolator(nn.Module):
    """The UNet and, in the masked form, the learned stand-in `c 1 1` for the frames that are to be found.

    The paper's mask embedding is `c h w`; one value a channel leaves the size free, as Framer has it.
    """

    def __init__(
        self,
        config: InterpolatorConfig,
        *,
        operations: Operations = TORCH,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        _check(config)
        self.config = config
        self.unet = VideoUNet(config.unet, operations=operations, device=device, dtype=dtype)
        self.mask_token = (
            nn.Parameter(torch.zeros(config.latent_channels, 1, 1, device=device, dtype=dtype))
            if config.form == "masked"
            else None
        )

    def condition(self, start: Tensor, end: Tensor) -> Tensor:
        """What is concatenated to the noisy latents: key latents `b c h w` each -> `(b t) c' h w`.

        Raises:
            InputError: the config is of the residual form, which knows no noise.
        """
        if self.mask_token is None:
            raise InputError(explain("a masked interpolator", self.config.name, "Ask it for `between` instead."))
        frames = self.config.frames
        hidden = self.mask_token.to(start).expand_as(start)
        clip = torch.stack([start, *[hidden] * (frames - 2), end], dim=1)
        if self.config.mask_channel:
            known = torch.zeros_like(clip[:, :, :1])
            known[:, 0] = known[:, -1] = 1
            clip = torch.cat([clip, known], dim=2)
        return rearrange(clip, "b t c h w -> (b t) c h w")

    def residual(self, start: Tensor, end: Tensor, context: Tensor, vector: Tensor) -> Tensor:
        """What the blend lacks, in units of `contrast`: key latents `b c h w`, context `b 2 d`, vector `b v`.

        Returns `b t-2 c h w` in the context's dtype: the key frames are known, so the network runs on those between
        them only.

        Raises:
            InputError: the config is of the masked form, or shapes do not fit.
        """
        if self.mask_token is not None:
            raise InputError(explain("a residual interpolator", self.config.name, "Sample from noise instead."))
        between = self.config.frames - 2
        times = torch.linspace(0, 1, self.config.frames, device=start.device, dtype=start.dtype)[1:-1]
        time = repeat(times, "t -> b t 1 h w", b=len(start), h=start.shape[-2], w=start.shape[-1])
        keys = repeat(torch.cat([start, end], dim=1), "b c h w -> b t c h w", t=between)
        inputs = rearrange(torch.cat([keys, time], dim=2), "b t c h w -> (b t) c h w")
        level = torch.zeros(len(start), device=start.device)
        return self.unet(inputs.to(context.dtype), level, context, vector, between).unflatten(0, (-1, between))

    def between(self, start: Tensor, end: Tensor, context: Tensor, vector: Tensor) -> Tensor:
        """All frames `b t c h w` from key latents `b c h w`: the blend of both plus the residual; keys stay as given.

        Two equal keys give themselves. Arguments and errors as in `residual`.
        """
        spread = contrast(start, end)
        added = self.residual(start, end, context, vector) * spread * opened(self.config.gate, spread)
        frames = blend(start, end, self.config.frames)
        frames[:, 1:-1] += added.to(frames)
        return frames


def blend(start: Tensor, end: Tensor, frames: int) -> Tensor:
    """Cross-fade of latents `b c h w` -> `b t c h w`; first and last are the inputs bit for bit."""
    parts = torch.linspace(0, 1, frames).tolist()
    return torch.stack([start, *(torch.lerp(start, end, part) for part in parts[1:-1]), end], dim=1)


def contrast(start: Tensor, end: Tensor) -> Tensor:
    """How far two latents `b c h w` are apart, root mean square, `b 1 1 1 1`: nothing moves, nothing is added."""
    return (end - start).square().mean(dim=(1, 2, 3)).sqrt()[:, None, None, None, None]


def opened(gate: tuple[float, float], spread: Tensor) -> Tensor:
    """The share of the residual that counts at a contrast, any shape: 0 up to the gate's low end, 1 from its high."""
    low, high = gate
    return ((spread - low) / (high - low)).clamp(0, 1) if high > low else (spread >= low).to(spread)


def relative_error(added: Tensor, missing: Tensor, spread: Tensor) -> Tensor:
    """Mean squared error of `spread * added` against `missing`, `b t c h w`, divided by each clip's spread."""
    error = (added.float() * spread - missing).square().mean(dim=(1, 2, 3, 4))
    return (error / spread.flatten().clamp(min=_STILL)).mean()


def from_svd(
    config: InterpolatorConfig, state: Mapping[str, Tensor], *, operations: Operations = TORCH
) -> VideoInterpolator:
    """An interpolator that starts as the base UNet whose tensors are `state`: what is new at the input weighs nothing.

    Raises:
        WeightsMismatchError: the base is no UNet of these widths.
    """
    model = VideoInterpolator(config, operations=operations)
    weights = dict(state)
    first = weights.get(_INPUT)
    wanted = model.unet.state_dict()[_INPUT]
    if first is not None and first.ndim == 4 and first.shape[1] <= wanted.shape[1]:
        weights[_INPUT] = torch.cat([first, first.new_zeros(len(first), wanted.shape[1] - first.shape[1], 3, 3)], dim=1)
    try:
        model.unet.load_state_dict(weights)
    except RuntimeError as error:
        found = str(error).splitlines()[1].strip()[:200]
        remedy = "Take the UNet this interpolator's config was made for."
        raise WeightsMismatchError(explain(f"the base UNet of {config.name}", found, remedy)) from error
    return model


def _check(config: InterpolatorConfig) -> None:
    """Whether the input is as wide as the form needs it.

    Raises:
        InputError: it is not, or there is no frame between.
    """
    channels = config.latent_channels
    extra = 1 if config.form == "residual" or config.mask_channel else 0
    if config.unet.in_channels != 2 * channels + extra or config.frames < 3:
        found = f"{config.unet.in_channels} and {config.frames}"
        raise InputError(
            explain(
                f"{2 * channels + extra} input channels and 3 frames or more for {config.name}",
                found,
                "Change the interpolator's config.",
            )
        )
