"""What `svd bench` measures: ways of doing the same thing, the first of each list being the one compared with."""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch
from torch import Tensor, nn

from ..autoencoder.autoencoder import Autoencoder
from ..autoencoder.decoding import decode_clip
from ..config import SVD_XT, UNetConfig
from ..errors import InputError, explain
from ..unet import FAST, LEAN, LEANEST, ExecutionPlan, HoistedUNet, VideoUNet
from . import yardstick
from .stand_ins import SMALL_AUTOENCODER, SMALL_UNET, Call, filled, unet_call
from .stopwatch import Timing, compare

Bench = Callable[[torch.device], list[Timing]]
_FRAMES = 8


def constants(device: torch.device) -> list[Timing]:
    """A step with full cross-attention, the collapsed path, and everything constant kept between steps."""
    unet, call = _small(device)
    hoisted = _hoisted(unet, call, FAST)
    return compare(
        {
            "full cross-attention": lambda: call.plain(unet),
            "collapsed": lambda: call.run(unet),
            "hoisted": lambda: hoisted(call.x, call.c_noise[0]),
        },
        device,
    )


def plans(device: torch.device) -> list[Timing]:
    """A guided step (both halves) under each plan."""
    unet, call = _small(device)
    return compare(_guided_steps(unet, call), device)


def decode(device: torch.device) -> list[Timing]:
    """The temporal decoder on a short clip, whole and in chunks."""
    autoencoder = filled(Autoencoder(SMALL_AUTOENCODER, device="meta"), device)
    latents = torch.randn(2 * _FRAMES, 4, 12, 16, generator=torch.Generator().manual_seed(0)).to(device)
    return compare(_decodings(autoencoder, latents), device, rounds=3)


def diffusers_step(device: torch.device) -> list[Timing]:
    """A guided step in diffusers' UNet and in ours, same sizes, same weights."""
    _require_diffusers()
    unet, call = _small(device)
    theirs = yardstick.diffusers_unet(SMALL_UNET, frames=_FRAMES)
    theirs = yardstick.with_our_weights(theirs, unet).to(device)
    return _against_diffusers(unet, theirs, call, device, rounds=5)


def real_size(device: torch.device) -> list[Timing]:
    """A guided step of svd_xt at 25 frames of 1024x576 in fp16, random weights; beside diffusers where installed."""
    if device.type != "cuda":
        remedy = "Add --device cuda on a machine with one."
        raise InputError(explain("a CUDA device for the real-size bench", str(device), remedy))
    unet = filled(VideoUNet(SVD_XT.unet, device="meta"), device, torch.float16, on_device=True)
    call = _random_call(SVD_XT.unet, device, torch.float16, frames=25, height=72, width=128)
    timings = compare(_guided_steps(unet, call), device, rounds=3)
    if yardstick.available():
        theirs = yardstick.diffusers_unet(SVD_XT.unet, frames=25).to(device, torch.float16)
        timings = _against_diffusers(unet, theirs, call, device, rounds=3)[:1] + timings
        del theirs
    del unet
    autoencoder = filled(Autoencoder(SVD_XT.autoencoder, device="meta"), device, torch.float16, on_device=True)
    latents = torch.randn(25, 4, 72, 128, generator=torch.Generator().manual_seed(0)).to(device, torch.float16)
    return timings + compare(_decodings(autoencoder, latents), device, rounds=1)


BENCHES: dict[str, Bench] = {
    "constants": constants,
    "plans": plans,
    "decode": decode,
    "diffusers": diffusers_step,
    "real-size": real_size,
}


def _small(device: torch.device) -> tuple[VideoUNet, Call]:
    """The SVD structure at a fifth of its width, and two halves of guidance of a short clip at 96x128 pixels."""
    unet = filled(VideoUNet(SMALL_UNET, device="meta"), device)
    return unet, _random_call(SMALL_UNET, device, torch.float32, frames=_FRAMES, height=12, width=16)


def _random_call(
    config: UNetConfig, device: torch.device, dtype: torch.dtype, *, frames: int, height: int, width: int
) -> Call:
    return unet_call(config, clips=2, frames=frames, height=height, width=width).to(device, dtype)


def _hoisted(unet: VideoUNet, call: Call, plan: ExecutionPlan) -> HoistedUNet:
    return HoistedUNet(unet, call.context, call.vector, num_frames=call.frames, plan=plan)


def _guided_steps(unet: VideoUNet, call: Call) -> dict[str, Callable[[], object]]:
    """One step by plan; with guidance in turn the two halves follow each other."""
    halves = [call.clip(0), call.clip(1)]
    turns = [_hoisted(unet, half, LEANEST) for half in halves]

    def in_turn() -> list[Tensor]:
        return [turn(half.x, half.c_noise[0]) for turn, half in zip(turns, halves, strict=True)]

    fast, lean = _hoisted(unet, call, FAST), _hoisted(unet, call, LEAN)
    return {
        "fast": lambda: fast(call.x, call.c_noise[0]),
        "lean": lambda: lean(call.x, call.c_noise[0]),
        "leanest (guidance in turn)": in_turn,
    }


def _decodings(autoencoder: Autoencoder, latents: Tensor) -> dict[str, Callable[[], object]]:
    """Whole, and by what the decoder offers against running out of memory."""
    frames, tile = latents.shape[0], max(latents.shape[-2:]) // 2
    ways: dict[str, Callable[[], object]] = {"whole clip": functools.partial(autoencoder.decode, latents, frames)}
    for chunk in (8, 4):
        name = f"{chunk} frames at a time"
        ways[name] = functools.partial(decode_clip, autoencoder, latents, frames, chunk=chunk)
    ways[f"{name}, tiles"] = functools.partial(decode_clip, autoencoder, latents, frames, chunk=4, tile=tile)
    return ways


def _against_diffusers(
    unet: VideoUNet, theirs: nn.Module, call: Call, device: torch.device, *, rounds: int
) -> list[Timing]:
    scalars = torch.tensor([[6.0, 127.0, 0.02]] * 2, device=device, dtype=call.x.dtype)
    fast = _hoisted(unet, call, FAST)
    return compare(
        {
            "diffusers": lambda: yardstick.call_theirs(theirs, call, scalars),
            "ours, fast": lambda: fast(call.x, call.c_noise[0]),
        },
        device,
        rounds=rounds,
    )


def _require_diffusers() -> None:
    if not yardstick.available():
        remedy = "Install diffusers to compare with it."
        raise InputError(explain("diffusers beside this package", "none installed", remedy))
