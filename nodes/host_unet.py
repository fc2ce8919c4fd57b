"""Our UNet behind the call the host makes: one row a frame comes in, clips go on to the network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ..svd_core.config import UNetConfig
from ..svd_core.memory import usable_bytes, with_leaner_retry
from ..svd_core.operations import Operations
from ..svd_core.unet import ExecutionPlan, VideoUNet
from ..svd_core.unet.plan import CallShape, activation_bytes
from ..svd_core.unet.unet import check_shapes
from .host import wrapped
from .patched_unet import Call, is_patched, run_patched
from .run_constants import RunConstants, Told

# Whether both halves of guidance run together is the host's decision; how wide a call runs is ours.
_WIDE = ExecutionPlan(batched_guidance=False, feed_forward_blocks=1)
_NARROW = ExecutionPlan(batched_guidance=False, feed_forward_blocks=8)


class HostUNet(VideoUNet):
    """The same network under the same parameter names; only `forward` speaks the host's dialect."""

    def __init__(
        self,
        *,
        config: UNetConfig,
        dtype: torch.dtype,
        operations: Operations,
        device: torch.device | None = None,
        **_described: object,
    ) -> None:
        """Made without memory: the weights are assigned afterwards. `_described` is for other nodes to read."""
        super().__init__(config, operations=operations, device="meta", dtype=dtype)
        # The host asks the network for it, where it computes in something else it says so itself.
        self.dtype = dtype
        self.constants = RunConstants()
        self.notices: list[str] = []
        """What went wrong and was mended during the last run."""

    def plan_for(self, shape: CallShape, device: torch.device) -> ExecutionPlan:
        """How a call of that shape spends memory: by the size of the machine, not by what is free at the moment."""
        usable = usable_bytes(device)
        room = None if usable is None else usable - sum(parameter.nbytes for parameter in self.parameters())
        fits = room is None or activation_bytes(self.config, shape, _WIDE) <= room
        return _WIDE if fits else _NARROW

    def forward(  # pyright: ignore[reportIncompatibleMethodOverride]
        self,
        x: Tensor,
        timesteps: Tensor,
        context: Tensor,
        y: Tensor,
        control: Mapping[str, Any] | None = None,
        transformer_options: dict[str, Any] | None = None,
        **extra: Any,  # noqa: ANN401 - the host passes on what any conditioning added
    ) -> Tensor:
        """x `(b t) C h w` scaled and concatenated, context `(b t) n d`, y `(b t) v` -> v `(b t) c h w`.

        timesteps `(b t)`: 0.25 ln sigma. `num_video_frames` says how long a clip is. Every frame of a clip has its
        clip's context unless `context_per_frame`; `time_context` is one of its own for the temporal blocks.
        """
        options = {} if transformer_options is None else transformer_options
        run = wrapped(self._forward, self, options, "DIFFUSION_MODEL")
        return run(x, timesteps, context, y, control, options, **extra)

    def _forward(
        self,
        x: Tensor,
        timesteps: Tensor,
        context: Tensor,
        y: Tensor,
        control: Mapping[str, Any] | None,
        options: dict[str, Any],
        *,
        num_video_frames: int,
        image_only_indicator: Tensor | None = None,
        time_context: Tensor | None = None,
        context_per_frame: bool = False,
        **_unused: object,
    ) -> Tensor:
        frames = num_video_frames
        tokens = context[::frames].contiguous()
        stills = None if image_only_indicator is None else image_only_indicator.bool().reshape(-1, frames)
        if is_patched(options, control) or time_context is not None or context_per_frame:
            call = Call(
                c_noise=timesteps,
                context=context,
                time_context=tokens if time_context is None else time_context[::frames],
                vector=y,
                frames=frames,
                stills=None if stills is None else stills.flatten(),
                control=control or {},
                options=options,
            )
            return run_patched(self, x, call)
        told = Told(tokens, y.unflatten(0, (-1, frames)), frames, stills)
        check_shapes(self.config, x, told.context, told.vector, frames)
        constants = self.constants.of(self, told, timesteps)
        height, width = x.shape[-2:]
        shape = CallShape(clips=1, frames=len(x), height=height, width=width, bytes_per_value=x.element_size())
        plan = self.plan_for(shape, x.device)

        def run(plan: ExecutionPlan) -> Tensor:
            return VideoUNet.run(self, x, constants, plan)

        leaner = _NARROW if plan is _WIDE else None
        return with_leaner_retry("a sampling step", run, plan, leaner, self.notices.append)
