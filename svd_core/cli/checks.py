"""The proofs of `svd selftest`: each computes one number on this machine and holds it against a limit."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from ..autoencoder.autoencoder import Autoencoder
from ..autoencoder.decoding import decode_clip
from ..config import SVD_XT
from ..pipeline import animate_clips
from ..settings import AnimateSettings
from ..unet import FAST, LEANEST, HoistedUNet, VideoUNet
from ..unet.plan import PLANS, CallShape, activation_bytes
from ..weights.build import load_model
from . import yardstick
from .stand_ins import SMALL_AUTOENCODER, SMALL_UNET, Call, filled, unet_call

# Rounding of float32 over a network's depth; a GPU adds up in another order.
_ROUNDING = 1e-5
_OTHER_DEVICE = 1e-4
# Half precision keeps 11 and 8 bits; measured 2.7e-3 and 2.1e-2 relative L2 on the small UNet.
_HALVES = ((torch.float16, 8e-3), (torch.bfloat16, 6e-2))
# In chunks the norms take their statistics from a measuring pass; measured 0.009 relative L2 on random weights.
_CHUNKED = 0.05
# Weights of the real UNet in fp16, and the largest plan of the check.
_PLANNER_NEEDS = 8e9
_FRAMES = 5
_FLAT = 0.005


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One check: the number measured and the most it may be; `skipped` says why there is none."""

    name: str
    measured: float = float("nan")
    limit: float = float("nan")
    skipped: str = ""

    @property
    def passed(self) -> bool:
        """NaN is no pass."""
        return bool(self.skipped) or self.measured <= self.limit


Check = Callable[[torch.device], Iterator[Result]]


@contextlib.contextmanager
def exact_float32() -> Generator[None, None, None]:
    """Switch TF32 convolutions off while float32 is being compared; torch allows them by default."""
    with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
        yield


def unet_paths(device: torch.device) -> Iterator[Result]:
    """Every shortcut through the UNet against the long way."""
    unet = _unet(device)
    call = _call(device)
    expected = call.plain(unet)
    limit = _ROUNDING if device.type == "cpu" else _OTHER_DEVICE
    result = partial(Result, limit=limit)
    yield result(name="collapsed attention = full attention", measured=_error(call.run(unet), expected))
    for name, plan in (("hoisted constants = full path", FAST), ("leanest plan = full path", LEANEST)):
        hoisted = HoistedUNet(unet, call.context, call.vector, num_frames=call.frames, plan=plan)
        yield result(name=name, measured=_error(hoisted(call.x, call.c_noise[0]), expected))
    alone = torch.cat([call.clip(index).run(unet) for index in range(2)])
    yield result(name="two clips at once = each alone", measured=_error(alone, expected))


def against_diffusers(device: torch.device) -> Iterator[Result]:
    """The same weights in diffusers' UNet."""
    name = "UNet = diffusers"
    if not yardstick.available():
        yield Result(name=name, skipped="diffusers is not installed")
        return
    unet = _unet(device)
    theirs = yardstick.with_our_weights(yardstick.diffusers_unet(SMALL_UNET, frames=_FRAMES), unet).to(device)
    scalars = torch.tensor([[6.0, 127.0, 0.02], [11.0, 30.0, 0.1]], device=device)
    call = dataclasses.replace(_call(device), vector=yardstick.sinusoids(theirs, scalars))
    error = _error(call.run(unet), yardstick.call_theirs(theirs, call, scalars))
    yield Result(name=name, measured=error, limit=_ROUNDING if device.type == "cpu" else _OTHER_DEVICE)


def against_cpu(device: torch.device) -> Iterator[Result]:
    """The same weights on the CPU."""
    if device.type == "cpu":
        yield Result(name="GPU = CPU", skipped="no GPU chosen")
        return
    here, there = _call(device).run(_unet(device)), _call(torch.device("cpu")).run(_unet(torch.device("cpu")))
    yield Result(name=f"{device.type} = CPU", measured=_error(here.cpu(), there), limit=_OTHER_DEVICE)


def halves(device: torch.device) -> Iterator[Result]:
    """fp16 and bf16 against fp32, relative L2."""
    expected = _call(device).run(_unet(device))
    for dtype, limit in _HALVES:
        result = _call(device).to(device, dtype).run(_unet(device).to(dtype))
        name = f"{str(dtype).removeprefix('torch.')} = float32"
        yield Result(name=name, measured=_relative_l2(result.float(), expected), limit=limit)


def decoding(device: torch.device) -> Iterator[Result]:
    """A clip decoded in chunks against the same clip decoded whole, relative L2."""
    autoencoder = filled(Autoencoder(SMALL_AUTOENCODER, device="meta"), device)
    latents = torch.randn(12, 4, 4, 4, generator=torch.Generator().manual_seed(0)).to(device)
    whole = autoencoder.decode(latents, 12)
    chunked = decode_clip(autoencoder, latents, 12, chunk=4)
    yield Result(name="decoded in chunks = decoded whole", measured=_relative_l2(chunked, whole), limit=_CHUNKED)
    alone = decode_clip(autoencoder, latents[:6], 6, chunk=4)
    together = decode_clip(autoencoder, torch.cat([latents[:6], latents[6:] * 2]), 6, chunk=4)
    error = _error(together[:6], alone)
    yield Result(name="clip decoded beside another = alone", measured=error, limit=_ROUNDING)


def memory_plan(device: torch.device) -> Iterator[Result]:
    """The planner's formula against what the allocator saw, one block of the real widths at a real size.

    Measured / planned: above 1.15 the planner would promise memory that is not there.
    """
    if device.type != "cuda":
        yield Result(name="memory planner", skipped="only a CUDA allocator can be asked")
        return
    if torch.cuda.get_device_properties(device).total_memory < _PLANNER_NEEDS:
        yield Result(name="memory planner", skipped="needs a GPU of 8 GB")
        return
    unet = filled(VideoUNet(SVD_XT.unet, device="meta"), device, torch.float16, on_device=True)
    for plan in PLANS:
        clips = 2 if plan.batched_guidance else 1
        call = unet_call(SVD_XT.unet, clips=clips, frames=14, height=40, width=72).to(device, torch.float16)
        hoisted = HoistedUNet(unet, call.context, call.vector, num_frames=14, plan=plan)
        # The first call makes the constants, which are not the planner's.
        hoisted(call.x, call.c_noise[0])
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        hoisted(call.x, call.c_noise[0])
        measured = torch.cuda.max_memory_allocated(device) - before
        shape = CallShape(clips=1, frames=14, height=40, width=72, bytes_per_value=2)
        planned = activation_bytes(SVD_XT.unet, shape, plan)
        name = f"memory measured / planned ({'batched' if plan.batched_guidance else 'in turn'}"
        yield Result(name=f"{name}, {plan.feed_forward_blocks} blocks)", measured=measured / planned, limit=1.15)


def end_to_end(source: str) -> Check:
    """A short clip of a whole model: finite, not flat, and the same bytes twice."""

    def check(device: torch.device) -> Iterator[Result]:
        model = load_model(source, device=device, dtype=torch.float32 if device.type == "cpu" else None)
        picture = _test_picture()
        settings = AnimateSettings(frames=6, steps=4, seed=7)
        first, second = (animate_clips(model, [picture], settings)[0].pixels for _ in range(2))
        name = model.config.name
        wrong = int((~first.isfinite()).sum())
        yield Result(name=f"{name}: values not finite", measured=wrong, limit=0)
        yield Result(name=f"{name}: flat frames", measured=int((first.flatten(1).std(1) < _FLAT).sum()), limit=0)
        yield Result(name=f"{name}: same seed, values that differ", measured=int((first != second).sum()), limit=0)

    return check


def _unet(device: torch.device) -> VideoUNet:
    return filled(VideoUNet(SMALL_UNET, device="meta"), device)


def _call(device: torch.device) -> Call:
    return unet_call(SMALL_UNET, clips=2, frames=_FRAMES, height=16, width=16).to(device, torch.float32)


def _test_picture() -> Tensor:
    """A ramp in every channel, `64 96 3` in [0, 1]."""
    rows, columns = torch.meshgrid(torch.linspace(0, 1, 64), torch.linspace(0, 1, 96), indexing="ij")
    return torch.stack([rows, columns, 1 - (rows + columns) / 2], dim=-1)


def _error(actual: Tensor, expected: Tensor) -> float:
    """Largest difference relative to the largest value."""
    return float((actual - expected).abs().max() / expected.abs().max())


def _relative_l2(actual: Tensor, expected: Tensor) -> float:
    return float((actual - expected).norm() / expected.norm())
