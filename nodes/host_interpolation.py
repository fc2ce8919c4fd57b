"""Frame interpolators as the host knows them: ours for its nodes, its own for ours.

Newer hosts have a socket for such models, called FRAME_INTERPOLATION_MODEL by the first of them and INTERP_MODEL since.
It carries a patcher whose network has `extract_features(picture)`, a call `(first, second, timestep=, cache=)`, and may
have `pad_align`, `memory_used_forward` and `forward_multi_timestep`. Ours follow that, so both kinds fit everywhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..svd_core.errors import InputError, choose_from, explain
from ..svd_core.interpolation.alpha import laid, lifted
from ..svd_core.interpolation.engines import Engine, Gap
from ..svd_core.interpolation.learned import LearnedEngine, as_frame, as_picture
from ..svd_core.interpolation.networks.rife import Rife
from ..svd_core.memory import with_leaner_retry
from ..svd_core.operations import Layers
from ..svd_core.rife_layouts import RifeConfig
from ..svd_core.weights.rife import check_settings, fill_rife
from ..svd_core.weights.rife_file import open_rife
from ..svd_core.weights.video_engine import STEPS
from ..svd_core.weights.video_interpolators import is_video_interpolator
from .host import ModelPatcher, cast_on_use, management
from .host_video_interpolation import HostBetween, load_video_for_host, times_of

DTYPES = {"auto": None, "float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
# Values a pixel that a call keeps alive, generously; what the host assumes of RIFE, and of networks that do not say.
_OURS, _THEIRS = 300, 60
# Below it FILM halves frames away.
_SMALLEST = 64
# Times handed to a host's network together.
_AT_ONCE = 8


class HostRife(Rife):
    """Our network under the host's calls, with the settings made where it was loaded."""

    def __init__(self, config: RifeConfig, layers: Layers, batch: int) -> None:
        super().__init__(config, layers)
        self.batch = batch

    @property
    def pad_align(self) -> int:
        """What the host pads pictures to."""
        return self.multiple

    def get_dtype(self) -> torch.dtype:
        """What the host casts pictures to."""
        return next(self.blocks.parameters()).dtype

    def memory_used_forward(self, shape: Sequence[int], dtype: torch.dtype) -> int:
        """Bytes a call on frames of `shape` `T H W C` needs besides the weights."""
        enlarged = max(1.0, self.flow_scale) ** 2
        return int(_OURS * shape[1] * shape[2] * dtype.itemsize * self.batch * enlarged)

    def extract_features(self, picture: Tensor) -> Tensor:
        """See `Rife.encoded`."""
        return self.encoded(picture[:, :3])

    def forward(  # pyright: ignore[reportIncompatibleMethodOverride]
        self,
        img0: Tensor,
        img1: Tensor,
        timestep: Tensor | float = 0.5,
        cache: Mapping[str, Tensor] | None = None,
    ) -> Tensor:
        """The frames `B 3 H W` at `timestep`, see `times_of`; `cache` holds features of one picture each."""
        rows = len(img0)
        times = times_of(timestep, rows).to(img0.device)
        known = cache or {}
        features = [
            known[name].expand(rows, -1, -1, -1) if name in known else self.encoded(picture[:, :3])
            for name, picture in (("img0", img0), ("img1", img1))
        ]
        return self.frames_at(img0, img1, times, (features[0], features[1]))


def load_for_host(
    path: Path,
    base: Path,
    dtype: str,
    flow_scale: float = 1.0,
    batch: int = 1,
    refine: bool = False,
    steps: int = STEPS,
    seed: int = 0,
) -> tuple[ModelPatcher, str]:
    """An interpolator of either kind on the host's patcher, and what it is in words.

    `base` is the model whose latents a video interpolator speaks; scale, batch and refinement are RIFE's, steps and
    seed those of video interpolators that sample.

    Raises:
        SvdError: as in `load_interpolator` and `load_video_engine`.
    """
    if dtype not in DTYPES:
        raise InputError(choose_from("dtype", dtype, DTYPES))
    if is_video_interpolator(path):
        return load_video_for_host(path, base, DTYPES[dtype], steps, seed)
    check_settings(flow_scale, batch)
    checkpoint, config = open_rife(path)
    device = management.get_torch_device()
    chosen = DTYPES[dtype] or (torch.float16 if management.should_use_fp16(device) else torch.float32)
    network = HostRife(config, Layers(cast_on_use, device="meta", dtype=chosen), batch)
    fill_rife(network, checkpoint, chosen)
    network.flow_scale, network.refine = flow_scale, refine
    patcher = ModelPatcher(network, load_device=device, offload_device=management.unet_offload_device())
    return patcher, _in_words(path, config, network, chosen)


def _in_words(path: Path, config: RifeConfig, network: HostRife, dtype: torch.dtype) -> str:
    count = sum(parameter.numel() for parameter in network.parameters())
    lines = [
        f"{path.name}: RIFE, layout {config.layout.name} (versions {config.layout.versions})",
        f"{count / 1e6:.1f} million parameters, {str(dtype).removeprefix('torch.')}, blocks of {list(config.widths)}",
        f"frames are padded to multiples of {network.multiple}",
    ]
    if config.refines:
        lines.append("the file holds a colour correction, which is " + ("on" if network.refine else "off (refine)"))
    return "\n".join(lines)


def host_engine(model: Any, height: int, width: int) -> Engine:  # noqa: ANN401 - whatever came over the socket
    """An engine of a model from the socket, loaded by the host for frames of that size.

    Raises:
        InputError: it is no interpolator.
    """
    network = getattr(model, "model", None)
    if network is None or not callable(network) or not hasattr(network, "extract_features"):
        found = f"{type(network if network is not None else model).__name__}"
        remedy = "Connect Load SVD Interpolator, or ComfyUI's own loader for frame interpolation."
        raise InputError(explain("a frame interpolation model", found, remedy))
    dtype = model.model_dtype() or torch.float32
    used = getattr(network, "memory_used_forward", None)
    needed = used((1, height, width, 3), dtype) if used else _THEIRS * height * width * dtype.itemsize
    management.load_models_gpu([model], memory_required=needed)
    if isinstance(network, HostBetween):
        return network.engine(model.load_device)
    if isinstance(network, HostRife):
        name = f"rife {network.config.layout.name}"
        return LearnedEngine(network, name, device=model.load_device, dtype=dtype, batch=network.batch)
    return HostEngine(network, model.load_device, dtype)


class HostEngine:
    """A network of the host's as an engine. It knows colours only: transparent frames are shown to it over grey, and
    their alpha once more as a picture of its own."""

    gaps_at_once = 1

    def __init__(self, network: Any, device: torch.device, dtype: torch.dtype) -> None:  # noqa: ANN401 - the host's
        self.name = type(network).__name__
        self._network, self._device, self._dtype = network, device, dtype
        self._last: tuple[Tensor, list[_View]] | None = None

    def between(self, gaps: Sequence[Gap]) -> Iterator[Tensor]:
        """See `Engine.between`."""
        for gap in gaps:
            pairs = list(zip(self._views(gap.first), self._views(gap.second), strict=True))
            for start in range(0, len(gap.times), _AT_ONCE):
                times = gap.times[start : start + _AT_ONCE]
                made = [self._made(pair, times, 1 if len(times) > 1 else None) for pair in pairs]
                for colours, *alpha in zip(*made, strict=True):
                    picture = torch.cat((colours[:3], *(plane[:3].mean(dim=0, keepdim=True) for plane in alpha)))
                    yield as_frame(lifted(picture[None].float())[0], gap.first)

    @torch.no_grad()
    def _views(self, frame: Tensor) -> list[_View]:
        """What the network is shown of a frame; of the one that ended the gap before it is known already."""
        if self._last is None or self._last[0].shape != frame.shape or not torch.equal(self._last[0], frame):
            multiple = getattr(self._network, "pad_align", 1)
            if min(frame.shape[:2]) < _SMALLEST:
                multiple = max(multiple, _SMALLEST)
            picture = laid(as_picture(frame.to(self._device), multiple)).to(self._dtype)
            shown = [picture[:, :3], *(plane.expand(-1, 3, -1, -1) for plane in picture[:, 3:].split(1, dim=1))]
            self._last = frame, [_View(one, self._network.extract_features(one)) for one in shown]
        return self._last[1]

    def _made(self, pair: tuple[_View, _View], times: Sequence[float], leaner: int | None) -> list[Tensor]:
        def run(at_once: int) -> list[Tensor]:
            parts = [times[start : start + at_once] for start in range(0, len(times), at_once)]
            return [picture for part in parts for picture in self._call(pair, part)]

        return with_leaner_retry("making frames", run, len(times), leaner)

    @torch.no_grad()
    def _call(self, pair: tuple[_View, _View], times: Sequence[float]) -> Tensor:
        first, second = (view.picture for view in pair)
        cache = {"img0": pair[0].features, "img1": pair[1].features}
        several = getattr(self._network, "forward_multi_timestep", None)
        if several is not None:
            return several(first, second, list(times), cache=cache)
        clock = first.new_tensor(times).view(-1, 1, 1, 1).expand(-1, 1, *first.shape[-2:])
        pictures = (picture.expand(len(times), -1, -1, -1) for picture in (first, second))
        return self._network(*pictures, timestep=clock, cache=cache)


@dataclass(frozen=True, slots=True)
class _View:
    """A picture `1 3 H W` and what the network made of it alone."""

    picture: Tensor
    features: Any
