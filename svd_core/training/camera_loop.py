"""The training loop of a camera LoRA: steps, averaging, state on disk; what comes of it is judged elsewhere.

A step's randomness is a generator seeded by (seed, step), so the state needs matrices, averages, optimiser and
position only, and an interrupted run continues to the bit.
"""

from __future__ import annotations

import functools
import pickle
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ..camera.adapter import Adapter, attach
from ..camera.lora import CameraLora, LowRank
from ..errors import FileFormatError, InputError, NumericsError, explain
from ..unet.inflated import SpatialVideoTransformer, VideoResBlock
from ..unet.unet import VideoUNet
from .camera_latents import Encoded, LatentGroups
from .camera_layers import fresh_deltas, parameters_of, with_values
from .checkpoints import save_fields
from .diffusion import NoiseLaw, TrainingClips, diffusion_loss
from .networks import Average
from .run_options import STATE_NAME

_CLIP_NORM = 1.0
_PRIME = 0x9E3779B97F4A7C15
_FADE_TO = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraRecipe:
    """How a LoRA is trained. `batch` clips a step; `buckets` is the range motion buckets are drawn from, whatever the
    clip's own motion, so that the LoRA and not the bucket decides the camera (a clip may bring its own);
    `checkpointing` trades time for memory.
    """

    steps: int
    rank: int
    targets: tuple[str, ...]
    learning_rate: float
    batch: int
    law: NoiseLaw
    buckets: tuple[float, float]
    checkpointing: bool
    seed: int
    warmup: int = 20
    fade_share: float = 0.5
    average: float = 0.98

    def rate(self, step: int) -> float:
        """Learning rate of a step: up, level, and down to a twentieth over the last `fade_share`."""
        rising = min(1.0, (step + 1) / max(1, min(self.warmup, self.steps // 4)))
        left = (self.steps - step) / max(1.0, self.fade_share * self.steps)
        return self.learning_rate * rising * max(_FADE_TO, min(1.0, left))


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraReport:
    """After a step: its number, how many there are, its loss, and seconds of computing spent so far."""

    step: int
    steps: int
    loss: float
    spent: float


class CameraTrainer:
    """One run in one folder; `key` names everything that decides the result, and a saved run of another is refused."""

    def __init__(self, unet: VideoUNet, recipe: CameraRecipe, groups: LatentGroups, folder: Path, key: str) -> None:
        self.unet, self.recipe, self.folder, self.key = unet, recipe, folder, key
        self.step, self.spent = 0, 0.0
        self.history: list[list[float]] = []
        self._groups = groups
        self._deltas = fresh_deltas(unet, recipe.targets, recipe.rank, recipe.seed)
        parameters = self._parameters
        self._optimiser = torch.optim.AdamW(parameters.values(), lr=0.0, betas=(0.9, 0.99), weight_decay=0.0)
        self._average = Average({name: value.detach().clone() for name, value in parameters.items()}, recipe.average)

    @property
    def deltas(self) -> dict[str, LowRank]:
        """The averaged matrices."""
        return with_values(self._deltas, self._average.values)

    @property
    def lora(self) -> CameraLora:
        """The averaged matrices as a LoRA to try."""
        count = len(self._deltas)
        rank = self.recipe.rank
        return CameraLora(
            name="in training", deltas=self.deltas, dialect="ours", rank=rank, alpha=rank, total=count, no_effect=0
        )

    def resume(self) -> None:
        """Continue the run saved in the folder, to the bit.

        Raises:
            InputError: there is none, or it was started with other settings.
            FileFormatError: the file is damaged.
        """
        saved: Any = _load(self.folder / STATE_NAME)
        if not isinstance(saved, dict) or saved.get("key") != self.key:
            remedy = "Repeat the settings of that run, or choose another folder."
            raise InputError(explain("a run with these settings", f"another in {self.folder}", remedy))
        with torch.no_grad():
            for name, value in self._parameters.items():
                value.copy_(saved["values"][name])
        device = next(iter(self._parameters.values())).device
        self._average.values = {name: value.to(device) for name, value in saved["average"].items()}
        self._average.count = saved["average_count"]
        self._optimiser.load_state_dict(saved["optimiser"])
        self.step, self.spent, self.history = saved["step"], saved["spent"], saved["history"]

    def save(self) -> None:
        """Write the run's state; an interrupted write leaves the previous one.

        Raises:
            OutputError: the disk is full or failed.
        """
        fields = {
            "key": self.key,
            "values": {name: value.detach().cpu() for name, value in self._parameters.items()},
            "average": {name: value.cpu() for name, value in self._average.values.items()},
            "average_count": self._average.count,
            "optimiser": self._optimiser.state_dict(),
            "step": self.step,
            "spent": self.spent,
            "history": self.history,
        }
        save_fields(self.folder / STATE_NAME, fields)

    def run(self, observe: Callable[[CameraReport], bool], *, save_seconds: float = 60.0) -> None:
        """Train to the end; `observe` is called after every step with nothing on the network and may end the run.

        Whatever ends it, the network is as it was before; what `observe` raises leaves the state of the last step.

        Raises:
            NumericsError: a loss is not finite; the last saved state stays as it was.
        """
        saved_at = self.spent
        for report in self._steps():
            try:
                stop = observe(report)
            except BaseException:
                self.save()
                raise
            if stop:
                break
            if self.spent - saved_at >= save_seconds:
                self.save()
                saved_at = self.spent
        self.save()

    def seconds_per_step(self, count: int) -> float:
        """Measure a few steps; the trainer is of no further use."""
        spent: list[float] = []
        for report in self._steps():
            spent.append(report.spent)
            if len(spent) > count:
                break
        return (spent[-1] - spent[0]) / max(1, len(spent) - 1)

    @property
    def _parameters(self) -> dict[str, Tensor]:
        return parameters_of(self._deltas)

    def _steps(self) -> Generator[CameraReport, None, None]:
        while self.step < self.recipe.steps:
            started = self._now()
            with _frozen(self.unet), _attached(self.unet, self._deltas) as adapter, self._checkpointed():
                loss = self._train_step(adapter)
            self.step += 1
            self.spent += self._now() - started
            yield CameraReport(step=self.step, steps=self.recipe.steps, loss=loss, spent=self.spent)

    def _train_step(self, adapter: Adapter) -> float:
        recipe, groups = self.recipe, self._groups.groups
        generator = torch.Generator().manual_seed((recipe.seed * 4_194_304 + self.step) * _PRIME % 2**63)
        self._optimiser.param_groups[0]["lr"] = recipe.rate(self.step)
        self._optimiser.zero_grad(set_to_none=True)
        total, shown = 0.0, 0
        seen: list[int] = []
        while shown < recipe.batch:
            index = int(torch.randint(len(groups), (), generator=generator))
            clips = _chosen(groups[index], recipe.batch - shown, generator)
            count = len(clips["fps"])
            adapter.retune([clips["strength"]])
            loss = self._loss(clips, generator) * (count / recipe.batch)
            seen.append(index)
            self._require_finite("loss", loss.detach(), seen[-1:])
            loss.backward()
            total, shown = total + float(loss.detach()), shown + count
        parameters = self._parameters
        # A finite loss may have an infinite gradient, in half precision above all.
        self._require_finite("gradient", nn.utils.clip_grad_norm_(parameters.values(), _CLIP_NORM), seen)
        self._optimiser.step()
        self._average.update(cast("dict[str, nn.Parameter]", parameters))
        return total

    def _loss(self, clips: Encoded, generator: torch.Generator) -> Tensor:
        device = next(self.unet.parameters()).device
        low, high = self.recipe.buckets
        count = len(clips["fps"])
        drawn = low + (high - low) * torch.rand(count, generator=generator)
        prepared = TrainingClips(
            latents=clips["latents"].to(device),
            condition=clips["condition"].to(device),
            context=clips["context"].to(device),
            fps=clips["fps"].to(device),
            motion_bucket=torch.where(clips["bucket"].isnan(), drawn, clips["bucket"]).to(device),
            pixel_noise=self._groups.pixel_noise.to(device),
            image_only=False,
        )
        return diffusion_loss(cast("VideoUNet", _InItsDtype(self.unet)), prepared, self.recipe.law, generator)

    def _require_finite(self, what: str, value: Tensor, groups: Sequence[int]) -> None:
        """Checked before a step can spoil the matrices."""
        if torch.isfinite(value):
            return
        named = ", ".join(f"{index}" for index in groups)
        raise NumericsError(
            explain(
                f"a finite training {what}",
                f"{float(value)} at step {self.step}, clips of group {named}",
                f"Start in another folder with a lower learning rate; the last good state stays in {self.folder}.",
            )
        )

    @contextmanager
    def _checkpointed(self) -> Generator[None, None, None]:
        """Blocks that forget their insides on the way forward and compute them again on the way back."""
        blocks = [m for m in self.unet.modules() if isinstance(m, VideoResBlock | SpatialVideoTransformer)]
        if not self.recipe.checkpointing:
            blocks = []
        for block in blocks:
            block.forward = functools.partial(checkpoint, block.forward, use_reentrant=False)
        try:
            yield
        finally:
            for block in blocks:
                del block.__dict__["forward"]

    def _now(self) -> float:
        """Seconds of computing: this process's on a CPU, where others may share the core, the wall's elsewhere."""
        on_cpu = next(self.unet.parameters()).device.type == "cpu"
        return time.process_time() if on_cpu else time.monotonic()


@dataclass(slots=True)
class _InItsDtype:
    """The network for callers that compute in float32: inputs are cast on the way in, as the weights are stored."""

    unet: VideoUNet
    config: Any = field(init=False)

    def __post_init__(self) -> None:
        self.config = self.unet.config

    def __call__(self, x: Tensor, c_noise: Tensor, context: Tensor, *more: Any, **named: Any) -> Tensor:  # noqa: ANN401
        dtype = next(self.unet.parameters()).dtype
        return self.unet(x.to(dtype), c_noise, context.to(dtype), *more, **named)


def _chosen(group: Encoded, count: int, generator: torch.Generator) -> Encoded:
    """At most `count` different clips of a group."""
    rows = torch.randperm(len(group["fps"]), generator=generator)[:count]
    return {name: value if name == "strength" else value[rows] for name, value in group.items()}


@contextmanager
def _attached(unet: VideoUNet, deltas: dict[str, LowRank]) -> Generator[Adapter, None, None]:
    lora = CameraLora(name="in training", deltas=deltas, dialect="ours", rank=0, alpha=None, total=0, no_effect=0)
    adapter = attach(unet, [(lora, 1.0)])
    try:
        yield adapter
    finally:
        adapter.detach()


@contextmanager
def _frozen(unet: VideoUNet) -> Generator[None, None, None]:
    """The base learns nothing, and is handed back as it came."""
    wanted = [parameter.requires_grad for parameter in unet.parameters()]
    unet.requires_grad_(False)
    try:
        yield
    finally:
        for parameter, want in zip(unet.parameters(), wanted, strict=True):
            parameter.requires_grad_(want)


def _load(path: Path) -> object:
    if not path.is_file():
        raise InputError(explain(f"a run to resume in {path.parent}", "none", "Start without --resume."))
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, ValueError, LookupError, TypeError, pickle.UnpicklingError) as error:
        raise FileFormatError(explain("a training state", f"{path}: {error}", "Delete it and start again.")) from error
