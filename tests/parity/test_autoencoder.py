"""The autoencoder against diffusers' on random weights, with controls that must fail the same comparison."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor, nn

from svd_core.autoencoder.autoencoder import Autoencoder
from svd_core.autoencoder.temporal import VideoResBlock
from svd_core.config import NANO, AutoencoderConfig
from svd_core.weights.keymaps import Place, decoder_rules, encoder_rules
from tests.tiny import TINY_AUTOENCODER, randomise_
from tests.tolerances import assert_close, relative_l2, relative_max

diffusers = pytest.importorskip("diffusers")
exported = pytest.importorskip("tests.parity.diffusers_twin").exported

IMAGE_DECODER = dataclasses.replace(TINY_AUTOENCODER, temporal_decoder=False, post_quant_conv=True)
# diffusers ties the middle of its temporal decoder to `layers_per_block` and its groups to 32: two and 32 it is.
NARROW = dataclasses.replace(NANO.autoencoder, norm_groups=32, channels=(32, 64, 96), res_blocks=2)
CONFIGS = {"svd": TINY_AUTOENCODER, "image": IMAGE_DECODER, "three levels": NARROW}
FRAMES, CLIPS = 5, 2
ENCODE_LIMIT, DECODE_LIMIT = 1e-5, 2e-5


def theirs_like(ours: Autoencoder) -> nn.Module:
    """A diffusers VAE with the weights of ours; every key must find its place."""
    config = ours.config
    common = {
        "block_out_channels": config.channels,
        "layers_per_block": config.res_blocks,
        "latent_channels": config.latent_channels,
        "down_block_types": ("DownEncoderBlock2D",) * len(config.channels),
    }
    if config.temporal_decoder:
        theirs = diffusers.AutoencoderKLTemporalDecoder(**common)
    else:
        theirs = diffusers.AutoencoderKL(
            **common, up_block_types=("UpDecoderBlock2D",) * len(config.channels), norm_num_groups=config.norm_groups
        )
    place = Place("", "diffusers")
    theirs.load_state_dict(exported(ours, encoder_rules(place, config) + decoder_rules(place, config)))
    return theirs.to(next(ours.parameters()).dtype).eval()


def make(config: AutoencoderConfig, seed: int = 1) -> Autoencoder:
    network = Autoencoder(config)
    randomise_(network, seed)
    return network.eval()


def latents_for(config: AutoencoderConfig, scale: float = 1.0, seed: int = 2) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(CLIPS * FRAMES, config.latent_channels, 5, 7, generator=generator)


def their_decode(theirs: nn.Module, latents: Tensor) -> Tensor:
    with torch.no_grad():
        if isinstance(theirs, diffusers.AutoencoderKLTemporalDecoder):
            return theirs.decode(latents, num_frames=FRAMES).sample
        return theirs.decode(latents).sample


def our_decode(ours: Autoencoder, latents: Tensor) -> Tensor:
    with torch.no_grad():
        return ours.decode(latents, FRAMES)


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS.keys())
def test_moments_match(config: AutoencoderConfig) -> None:
    ours = make(config)
    pixels = torch.rand(2, 3, 40, 56, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.no_grad():
        posterior = theirs_like(ours).encode(pixels).latent_dist
        mean, logvar = ours.moments(pixels)
        assert_close(ours.encode(pixels), posterior.mode(), ENCODE_LIMIT)
    assert_close(mean, posterior.mean, ENCODE_LIMIT)
    assert_close(logvar, posterior.logvar, ENCODE_LIMIT)


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS.keys())
def test_decode_matches(config: AutoencoderConfig) -> None:
    ours = make(config)
    latents = latents_for(config)
    assert_close(our_decode(ours, latents), their_decode(theirs_like(ours), latents), DECODE_LIMIT)


def make_quiet() -> Autoencoder:
    """A network whose residual stream stays near 0.02, where a norm's eps matters."""
    ours = make(TINY_AUTOENCODER)
    with torch.no_grad():
        for name, parameter in ours.decoder.named_parameters():
            ends_branch = any(end in name for end in ("conv2.", "out_layers.3.", "proj_out.", "conv_in."))
            if ends_branch or name.endswith(("upsample.conv.bias", "nin_shortcut.bias")):
                parameter.mul_(0.02)
    return ours


def test_quiet_network_matches() -> None:
    ours = make_quiet()
    latents = latents_for(TINY_AUTOENCODER)
    assert_close(our_decode(ours, latents), their_decode(theirs_like(ours), latents), DECODE_LIMIT)


def test_swapped_blend_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    ours = make(TINY_AUTOENCODER)
    latents = latents_for(TINY_AUTOENCODER)
    expected = their_decode(theirs_like(ours), latents)
    right = VideoResBlock.temporal_share
    monkeypatch.setattr(VideoResBlock, "temporal_share", lambda self, like: 1 - right(self, like))
    error = relative_max(our_decode(ours, latents), expected)
    assert error > 1000 * DECODE_LIMIT, f"a swapped blend moved the result by only {error:.2e}"


@pytest.mark.parametrize(("right", "wrong"), [(1e-5, 1e-6), (1e-6, 1e-5)], ids=["temporal", "spatial"])
def test_wrong_eps_is_noticed(right: float, wrong: float) -> None:
    ours = make_quiet()
    latents = latents_for(TINY_AUTOENCODER)
    expected = their_decode(theirs_like(ours), latents)
    for module in ours.modules():
        if isinstance(module, nn.GroupNorm) and module.eps == right:
            module.eps = wrong
    error = relative_max(our_decode(ours, latents), expected)
    assert error > 5 * DECODE_LIMIT, f"eps {wrong} for {right} moved the result by only {error:.2e}"


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=["fp16", "bf16"])
def test_half_precision_is_no_worse(dtype: torch.dtype) -> None:
    """Error against float64 of the same rounded weights and latents, averaged over three networks."""
    our_error = their_error = 0.0
    for seed in range(3):
        ours = make(TINY_AUTOENCODER, seed).to(dtype)
        theirs = theirs_like(ours)
        latents = latents_for(TINY_AUTOENCODER, seed=seed).to(dtype)
        our_error += relative_l2(our_decode(ours, latents), truth := our_decode(ours.double(), latents.double()))
        their_error += relative_l2(their_decode(theirs, latents), truth)
    print(f"{dtype}: ours {our_error / 3:.3e}, diffusers {their_error / 3:.3e}")
    assert our_error <= 1.1 * their_error, f"ours {our_error / 3:.3e} above 1.1 x diffusers {their_error / 3:.3e}"
