"""The video interpolator in the host: network, autoencoder and image encoder of its base on one patcher, so that the
host moves all three together, in parts where its memory is small.

The host's own interpolation nodes may call it too; see `host_interpolation` for what they ask.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from ..svd_core.autoencoder.footprint import decode_bytes
from ..svd_core.errors import InputError, explain
from ..svd_core.interpolation.engines import Gap, Halving
from ..svd_core.unet import ExecutionPlan
from ..svd_core.unet.interpolator import VideoInterpolator
from ..svd_core.unet.plan import CallShape, activation_bytes
from ..svd_core.weights.build import SvdModel, load_model
from ..svd_core.weights.video_engine import VideoBetween, check_base, engine_of
from ..svd_core.weights.video_interpolators import load_interpolator_network
from .host import ModelPatcher, cast_on_use, check_interrupt, management
from .host_vae import stored_as

_ONE_CALL = ExecutionPlan(batched_guidance=False, feed_forward_blocks=1)


class HostBetween(nn.Module):
    """An interpolator and those networks of its base that pictures go through; steps and seed as in `VideoBetween`."""

    def __init__(self, network: VideoInterpolator, base: SvdModel, name: str, steps: int, seed: int) -> None:
        super().__init__()
        self.network, self.steps, self.seed = network, steps, seed
        self.autoencoder, self.image_encoder = base.autoencoder, base.image_encoder
        self.config, self.name = base.config, name

    @property
    def pad_align(self) -> int:
        """What the host pads pictures to."""
        return self.config.autoencoder.downsampling * self.network.config.unet.downsampling

    def get_dtype(self) -> torch.dtype:
        """What the host casts pictures to."""
        return next(self.network.parameters()).dtype

    def memory_used_forward(self, shape: Sequence[int], dtype: torch.dtype) -> int:
        """Bytes that frames of `shape` `T H W C` need besides the weights: of network and decoder the larger."""
        cell, unet = self.config.autoencoder.downsampling, self.network.config.unet
        height, width = (math.ceil(side / self.pad_align) * self.pad_align // cell for side in shape[1:3])
        frames = self.network.config.frames
        call = CallShape(clips=1, frames=frames, height=height, width=width, bytes_per_value=dtype.itemsize)
        plan = self._between(management.get_torch_device()).decode_plan(frames, height, width)
        decoding = decode_bytes(
            self.config.autoencoder,
            chunk=plan.chunk,
            tile=plan.tile,
            height=height,
            width=width,
            bytes_per_value=next(self.autoencoder.parameters()).dtype.itemsize,
        )
        return max(activation_bytes(unet, call, _ONE_CALL), decoding)

    def engine(self, device: torch.device) -> Halving:
        """The engine of `svd interpolate --engine svd` on the host's weights; cancelling takes effect in it."""
        return engine_of(self._between(device), self.name)

    def extract_features(self, picture: Tensor) -> Tensor:
        """What the host keeps of a picture from pair to pair: nothing that would be worth it."""
        return picture[:, :0]

    def forward(
        self,
        img0: Tensor,
        img1: Tensor,
        timestep: Tensor | float = 0.5,
        cache: Mapping[str, object] | None = None,
    ) -> Tensor:
        """The frames `B 3 H W` at `timestep` (see `times_of`), each row between its own two pictures.

        Raises:
            InputError: see `times_of`.
        """
        rows = len(img0)
        times = times_of(timestep, rows).tolist()
        engine, made = self.engine(img0.device), list[Tensor]()
        start = 0
        for end in range(1, rows + 1):
            # Rows of one pair are made together: the network draws several times at once.
            if end == rows or not (torch.equal(img0[start], img0[end]) and torch.equal(img1[start], img1[end])):
                first, second = (picture[start, :3].movedim(0, -1) for picture in (img0, img1))
                made += engine.between([Gap(first, second, tuple(times[start:end]))])
                start = end
        return torch.stack(made).movedim(-1, 1).to(img0)

    def _between(self, device: torch.device) -> VideoBetween:
        return VideoBetween(
            network=self.network,
            base=self,
            steps=self.steps,
            seed=self.seed,
            device=device,
            token_dtype=torch.float32,
            on_work=check_interrupt,
        )


def times_of(timestep: Tensor | float, rows: int) -> Tensor:
    """Times `B`, float32, from what hosts call a timestep: one for all rows, as a number or a tensor of one row, or one
    a row, `B ...`, of which the mean counts.

    Raises:
        InputError: times for another number of rows.
    """
    given = timestep.float() if isinstance(timestep, Tensor) else torch.tensor(float(timestep))
    times = given.reshape(len(given) if given.ndim else 1, -1).mean(dim=1)
    if len(times) not in (1, rows):
        remedy = "Give a number, or a time for each pair."
        raise InputError(explain(f"timestep for {rows} pairs of pictures", f"{len(times)} of them", remedy))
    return times.expand(rows)


def load_video_for_host(
    path: Path, base: Path, dtype: torch.dtype | None, steps: int, seed: int
) -> tuple[ModelPatcher, str]:
    """An interpolator with its base on the host's patcher, and what it is in words; None leaves the dtype to the host.

    Steps and seed are for files of the masked form.

    Raises:
        SvdError: see `load_video_engine`; above all, the base is another one than the interpolator was trained on.
    """
    device = management.get_torch_device()
    chosen = dtype or (torch.float16 if management.should_use_fp16(device) else torch.float32)
    stored = load_interpolator_network(path, dtype=chosen, operations=cast_on_use)
    model = load_model(base, operations=cast_on_use)
    check_base(stored, model, path)
    offered = [torch.bfloat16, torch.float32]
    stored_as(model.autoencoder, dtype if dtype is torch.float32 else management.vae_dtype(device, offered))
    network = HostBetween(stored.model, model, path.stem, steps, seed)
    patcher = ModelPatcher(network, load_device=device, offload_device=management.unet_offload_device())
    return patcher, _in_words(path, network, stored.base is not None)


def _in_words(path: Path, network: HostBetween, base_known: bool) -> str:
    config, sampling = network.network.config, network.config.sampling
    count = sum(parameter.numel() for parameter in network.network.parameters())
    sampled = f"sampled from noise in {network.steps} steps, seed {network.seed}"
    way = "drawn in one step" if config.form == "residual" else sampled
    lines = [
        f"{path.name}: video interpolator of {network.config.name}, {config.frames - 2} frames between two, {way}",
        f"{count / 1e6:.1f} million parameters, {str(network.get_dtype()).removeprefix('torch.')}, "
        f"beside the autoencoder and image encoder of {network.config.name}",
        f"made for {sampling.width}x{sampling.height}; frames are padded to multiples of {network.pad_align}",
    ]
    if not base_known:
        lines.append("the file does not say which model it belongs to: the sizes fit, no more is known")
    return "\n".join(lines)
