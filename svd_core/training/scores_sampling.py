"""Samples of a model and what is read from them, clip by clip: by motion bucket, and with camera LoRAs."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path

import torch
from einops import rearrange
from torch import Tensor

from ..camera.adapter import Placeable
from ..camera.lora import CameraLora
from ..camera.meter import measure
from ..config import SamplingDefaults
from ..types import Frames
from .camera_clips import ClipSize
from .camera_moves import target_of
from .camera_trials import bench_for, clips_with, columns_of
from .evaluation import animate
from .sampler import Model
from .scores_arithmetic import squared_error
from .scores_clip import coherent_flow_of, ends, flow_of, step_error, tracked
from .scores_matched import matched
from .scores_record import Line, Record
from .scores_sets import SETS, Scene, scene
from .sheet import save_sheet
from .worlds import WorldSize

BATCH = 8
"""Clips made at a time, all of one set."""
_SHEET_FRAMES = 7
# Noise of two sets' clips, or of two seeds', hardly ever meets; torch keeps the low 32 bits of a seed.
_SEEDS_APART, _SETS_APART, _SEED_BITS = 1_000_003, 10_000_000, 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Shot:
    """A way to make a clip of a picture: at a motion bucket, or at the default one with camera LoRAs.

    full: flicker, ends and the camera's columns are read as well, not the flow alone.
    """

    name: str
    bucket: float
    placed: tuple[Placeable, ...] = ()
    full: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """Clips `0 .. clips - 1` of each set, all shots of each; `sheets` is a folder for contact sheets of the first."""

    sets: Sequence[str]
    clips: int
    shots: Sequence[Shot]
    sheets: Path | None = None


Tell = Callable[[int, int], None]
"""Told the clips done and the clips in all."""


def buckets_of(sampling: SamplingDefaults) -> tuple[float, ...]:
    """Lowest, default and highest motion bucket, and the middle of the larger gap, in rising order."""
    low, high = 1.0, 255.0
    usual = min(max(float(sampling.motion_bucket), low), high)
    middle = (usual + high) / 2 if high - usual >= usual - low else (low + usual) / 2
    return tuple(sorted({low, usual, round(middle) + 0.0, high}))


def bucket_shots(sampling: SamplingDefaults) -> list[Shot]:
    """The shots without any LoRA."""
    usual = float(sampling.motion_bucket)
    return [Shot(name=bucket_name(bucket), bucket=bucket, full=bucket == usual) for bucket in buckets_of(sampling)]


def camera_shots(loras: Sequence[CameraLora], sampling: SamplingDefaults) -> list[Shot]:
    """Every LoRA, tagged for a preset, at half and full strength; one that holds the camera at full strength alone."""
    return [
        Shot(name=case_name(lora, strength), bucket=float(sampling.motion_bucket), placed=((lora, strength),))
        for lora in loras
        for strength in ((1.0,) if target_of(str(lora.preset), sampling.fps).axis is None else (0.5, 1.0))
    ]


def case_name(lora: CameraLora, strength: float) -> str:
    """What the lines of a LoRA at a strength are called: another training of the same preset has lines of its own."""
    total = hashlib.sha256()
    for path, delta in sorted(lora.deltas.items()):
        total.update(path.encode())
        for half in (delta.down, delta.up):
            total.update(half.detach().float().cpu().contiguous().numpy().tobytes())
    return f"{lora.preset} {strength:g} {total.hexdigest()[:8]}"


def bucket_name(bucket: float) -> str:
    """What its lines are called."""
    return f"bucket {bucket:g}"


@torch.no_grad()
def take(model: Model, plan: Sampling, record: Record, tell: Tell) -> None:
    """Sample and read what the record does not hold yet, a batch at a time.

    A few clips of all sets and shots come before the next few: stopped anywhere, the record holds what all have.
    """
    done = {(line["set"], line["clip"], line["name"]) for line in record.lines if line["kind"] == "clip"}
    names = [PICTURE, *(shot.name for shot in plan.shots)]
    total, count = len(plan.sets) * plan.clips * len(plan.shots), 0
    for first in range(0, plan.clips, BATCH):
        indices = range(first, min(plan.clips, first + BATCH))
        for name in plan.sets:
            sheets = plan.sheets if first == 0 else None
            lacking = {
                what: [index for index in indices if (name, index, what) not in done]
                for what in names
                if any((name, index, what) not in done for index in indices)
            }
            if lacking or sheets is not None:
                _Batch(model, record, name, indices, sheets).measure(plan.shots, lacking)
            count += len(indices) * len(plan.shots)
            tell(count, total)


PICTURE = "picture"
"""Name of the lines that hold what no sample is needed for."""


@dataclass(slots=True)
class _Batch:
    """Neighbouring clips of a set."""

    model: Model
    record: Record
    name: str
    indices: range
    sheets: Path | None

    def measure(self, shots: Sequence[Shot], lacking: Mapping[str, Sequence[int]]) -> None:
        sampling = self.model.config.sampling
        size = WorldSize(frames=sampling.frames, height=sampling.height, width=sampling.width)
        scenes = [scene(self.name, self.record.seed, index, size) for index in self.indices]
        pictures = torch.stack([one.pixels[0] for one in scenes])
        again = _reconstructed(self.model, pictures)
        if PICTURE in lacking:
            self._add(PICTURE, lacking[PICTURE], [_of_picture(*pair) for pair in zip(scenes, again, strict=True)])
        for shot in shots:
            sheet = None if self.sheets is None else self.sheets / f"{shot.name} {self.name}.png".replace(" ", "-")
            if shot.name not in lacking and (sheet is None or sheet.is_file()):
                continue
            clips = self._sampled(shot, pictures)
            if shot.name in lacking:
                read = [self._read(shot, *given, size) for given in zip(clips, scenes, again, strict=True)]
                self._add(shot.name, lacking[shot.name], read)
            if sheet is not None:
                shown = torch.linspace(0, sampling.frames - 1, _SHEET_FRAMES).round().long()
                save_sheet(sheet, torch.cat((pictures[:, None], clips[:, shown]), dim=1))

    def _sampled(self, shot: Shot, pictures: Tensor) -> Tensor:
        """Clips `B T 3 H W` on the CPU."""
        sampling = self.model.config.sampling
        place = list(SETS).index(self.name) * _SETS_APART + self.indices.start
        noise = (self.record.seed * _SEEDS_APART + place) % 2**_SEED_BITS
        if not shot.placed:
            return animate(self.model, pictures, sampling, shot.bucket, first_seed=noise).cpu()
        size = ClipSize(frames=sampling.frames, height=sampling.height, width=sampling.width)
        bench = bench_for(self.model, size, pictures, batch=BATCH, first_seed=noise)
        made = [rearrange(clip.pixels, "t h w c -> t c h w") for clip in clips_with(self.model, shot.placed, bench)]
        return torch.stack(made) * 2 - 1

    def _read(self, shot: Shot, clip: Tensor, origin: Scene, again: Tensor, size: WorldSize) -> Line:
        frames = Frames((rearrange(clip, "t c h w -> t h w c") + 1) / 2, Fraction(self.model.config.sampling.fps))
        track = measure(frames)
        line: dict[str, object] = {
            "flow": flow_of(track),
            "coherent": coherent_flow_of(track),
            "trusted": float(track.trusted.float().mean()),
        }
        if shot.full or shot.placed:
            line["columns"] = columns_of(frames, track)
        if shot.full:
            real = matched(origin, size, track)
            line |= {
                "first": squared_error(clip[0], origin.pixels[0]),
                "first own": squared_error(clip[0], again),
                "steps": step_error(clip),
                "ends": asdict(ends(clip)),
                "real flow": real.flow,
                "real steps": step_error(real.pixels),
                "real steps again": step_error(_again_as_clip(self.model, real.pixels)),
                "real ends": asdict(ends(real.pixels)),
            }
        return line

    def _add(self, name: str, wanted: Sequence[int], read: Sequence[Line]) -> None:
        lines = zip(self.indices, read, strict=True)
        self.record.add(
            [
                {"kind": "clip", "set": self.name, "clip": index, "name": name, **line}
                for index, line in lines
                if index in wanted
            ]
        )


def _of_picture(origin: Scene, again: Tensor) -> Line:
    """What needs no sample: the autoencoder's loss, and how the meter reads a clip whose flow is known."""
    track = tracked(origin.pixels)
    return {
        "reconstruction": squared_error(again, origin.pixels[0]),
        "label": origin.flow,
        "flow": flow_of(track),
        "coherent": coherent_flow_of(track),
    }


def _reconstructed(model: Model, pictures: Tensor) -> Tensor:
    """decode(encode(x)) of single pictures `B 3 H W`, on the CPU."""
    home = next(model.autoencoder.parameters())
    return model.autoencoder.decode(model.autoencoder.encode(pictures.to(home))).float().clamp(-1, 1).cpu()


def _again_as_clip(model: Model, clip: Tensor) -> Tensor:
    """The same of the frames of one clip `T 3 H W`, decoded as one."""
    home = next(model.autoencoder.parameters())
    return model.autoencoder.decode(model.autoencoder.encode(clip.to(home)), len(clip)).float().clamp(-1, 1).cpu()
