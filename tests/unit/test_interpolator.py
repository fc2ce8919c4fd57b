"""The interpolator's network: its input, its start from a base, two image tokens, and the blend it adds to."""

from __future__ import annotations

import dataclasses
from typing import cast

import pytest
import torch
from torch import Tensor, nn

from svd_core.config import FRAMER, NANO, NANO_INTERPOLATOR, SVD_INTERPOLATOR, InterpolatorConfig
from svd_core.errors import InputError, WeightsMismatchError
from svd_core.unet.interpolator import VideoInterpolator, blend, contrast, from_svd, opened, relative_error
from svd_core.unet.transformer import Attention
from svd_core.unet.unet import VideoUNet

UNET = dataclasses.replace(
    NANO.unet, in_channels=8, out_channels=4, channels=(16, 32), head_channels=16, norm_groups=4, context_dim=24
)
MASKED = InterpolatorConfig(name="masked", form="masked", unet=dataclasses.replace(UNET, in_channels=9))
FRAMERS = InterpolatorConfig(name="framers", form="masked", unet=UNET, frames=14, mask_channel=False)
RESIDUAL = InterpolatorConfig(name="residual", form="residual", unet=dataclasses.replace(UNET, in_channels=9))


def _noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def _seeded(config: InterpolatorConfig, seed: int = 3) -> VideoInterpolator:
    torch.manual_seed(seed)
    return VideoInterpolator(config)


def test_the_rows_are_the_papers_and_framers() -> None:
    assert (SVD_INTERPOLATOR.unet.in_channels, SVD_INTERPOLATOR.frames) == (9, 5)
    assert (FRAMER.unet.in_channels, FRAMER.frames, FRAMER.mask_channel) == (8, 14, False)
    for row in (SVD_INTERPOLATOR, FRAMER):
        assert row.unet == dataclasses.replace(UNET_OF_SVD, in_channels=row.unet.in_channels)
        token = VideoInterpolator(row, device="meta").mask_token
        assert token is not None and token.shape == (4, 1, 1)
    assert VideoInterpolator(NANO_INTERPOLATOR, device="meta").mask_token is None


UNET_OF_SVD = FRAMER.unet


@pytest.mark.parametrize("config", [MASKED, FRAMERS], ids=["paper", "framer"])
def test_mask_channels(config: InterpolatorConfig) -> None:
    model = _seeded(config)
    token = cast("nn.Parameter", model.mask_token)
    token.data = torch.tensor([1.0, 2, 3, 4])[:, None, None]
    start, end = _noise(2, 4, 3, 5), _noise(2, 4, 3, 5, seed=1)
    clip = model.condition(start, end).unflatten(0, (2, config.frames))
    assert torch.equal(clip[:, 0, :4], start) and torch.equal(clip[:, -1, :4], end)
    assert torch.equal(clip[:, 1:-1, :4], token.expand(2, config.frames - 2, 4, 3, 5))
    if config.mask_channel:
        known = [1.0] + [0.0] * (config.frames - 2) + [1.0]
        assert torch.equal(clip[:, :, 4], torch.tensor(known)[None, :, None, None].expand(2, -1, 3, 5))
    assert clip.shape[2] == config.unet.in_channels - 4


def test_starts_as_the_base() -> None:
    torch.manual_seed(1)
    base = VideoUNet(UNET).eval()
    model = from_svd(MASKED, base.state_dict()).eval()
    noisy, start, end = _noise(10, 4, 4, 4), _noise(2, 4, 4, 4, seed=1), _noise(2, 4, 4, 4, seed=2)
    context, vector = _noise(2, 2, 24, seed=3), _noise(2, UNET.vector_dim, seed=4)
    condition = model.condition(start, end)
    with torch.no_grad():
        level = torch.tensor([0.3, -0.2])
        expected = base(torch.cat([noisy, condition[:, :4]], dim=1), level, context, vector, 5)
        found = model.unet(torch.cat([noisy, condition], dim=1), level, context, vector, 5)
        assert float((found - expected).abs().max()) < 1e-6
        model.unet.state_dict()["input_blocks.0.0.weight"][:, 8] += 0.1
        changed = model.unet(torch.cat([noisy, condition], dim=1), level, context, vector, 5)
    assert float((changed - expected).abs().max()) > 1e-3
    # Framer's eight channels need nothing new: the base's tensors fit as they are.
    assert torch.equal(from_svd(FRAMERS, base.state_dict()).unet.out[2].weight, base.out[2].weight)


def test_another_base_is_refused() -> None:
    base = VideoUNet(dataclasses.replace(UNET, channels=(16, 16)))
    with pytest.raises(WeightsMismatchError, match="base UNet of masked"):
        from_svd(MASKED, base.state_dict())


def test_two_tokens_are_attended_to() -> None:
    """Softmax over two keys written out by hand, in every cross-attention of both halves."""
    model = _seeded(RESIDUAL).eval()
    seen: dict[str, tuple[Tensor, Tensor, Tensor]] = {}

    def watch(name: str, module: nn.Module) -> None:
        def record(_: nn.Module, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
            seen[name] = (*inputs, output)

        module.register_forward_hook(record)

    layers = {name: layer for name, layer in model.unet.named_modules() if name.endswith("attn2")}
    for name, layer in layers.items():
        watch(name, layer)
    context = _noise(1, 2, 24)
    with torch.no_grad():
        model.residual(_noise(1, 4, 4, 4), _noise(1, 4, 4, 4, seed=1), context, _noise(1, UNET.vector_dim))
        assert set(seen) == set(layers) and len(layers) == 14
        for name, layer in layers.items():
            attention = cast("Attention", layer)
            x, tokens, found = seen[name]
            assert torch.equal(tokens, context.expand(3, -1, -1)), "a frame sees the tokens of both keys"
            heads = attention.to_q(x).shape[-1] // attention.head_channels
            q, k, v = (part.unflatten(-1, (heads, -1)) for part in attention.project(x, tokens))
            scores = torch.einsum("nqhd,nkhd->nhqk", q, k) / attention.head_channels**0.5
            shares = scores.exp() / scores.exp().sum(dim=-1, keepdim=True)
            mixed = torch.einsum("nhqk,nkhd->nqhd", shares, v).flatten(2)
            assert torch.allclose(attention.to_out[0](mixed), found, atol=1e-5), name
            # One token twice is one token: there the collapse would have been right.
            twice = attention(x, tokens[:, :1].expand(-1, 2, -1))
            assert torch.allclose(twice, attention.constant(tokens[:, :1]).expand_as(twice), atol=1e-5)
            assert not torch.allclose(found, attention.constant(tokens[:, :1]).expand_as(found), atol=1e-3)


def test_between_adds_to_the_blend() -> None:
    model = _seeded(RESIDUAL).eval()
    start, end = _noise(2, 4, 4, 6), _noise(2, 4, 4, 6, seed=1)
    context, vector = _noise(2, 2, 24), _noise(2, UNET.vector_dim)
    with torch.no_grad():
        frames = model.between(start, end, context, vector)
        assert frames.shape == (2, 5, 4, 4, 6)
        assert torch.equal(frames[:, 0], start) and torch.equal(frames[:, -1], end)
        added = model.residual(start, end, context, vector)
        distance = (end - start).square().mean(dim=(1, 2, 3)).sqrt()
        for index, part in ((1, 0.25), (2, 0.5), (3, 0.75)):
            expected = start + part * (end - start) + added[:, index - 1] * distance[:, None, None, None]
            assert torch.allclose(frames[:, index], expected, atol=1e-5)
        still = model.between(start, start, context, vector)
        assert torch.equal(still, start[:, None].expand(-1, 5, -1, -1, -1))


def test_the_gate_leaves_the_blend_where_little_moves() -> None:
    """Contrast below the gate: the blend to the bit; above: all of the residual; between: a straight line."""
    model = _seeded(dataclasses.replace(RESIDUAL, gate=(0.2, 0.6))).eval()
    start, away = torch.zeros(3, 4, 4, 4), torch.tensor([0.1, 0.4, 0.8])[:, None, None, None]
    end, context, vector = start + away, _noise(3, 2, 24), _noise(3, UNET.vector_dim)
    with torch.no_grad():
        frames = model.between(start, end, context, vector)
        added = model.residual(start, end, context, vector) * away[:, None]
    faded = blend(start, end, 5)
    assert torch.equal(frames[0], faded[0])
    for row, share in ((1, 0.5), (2, 1.0)):
        assert torch.allclose(frames[row, 1:-1], faded[row, 1:-1] + share * added[row], atol=1e-5)
    assert opened((0.0, 0.0), torch.tensor([0.0, 0.3])).tolist() == [1.0, 1.0]


def test_relative_error() -> None:
    start, end = torch.zeros(2, 1, 2, 2), torch.tensor([1.0, 4.0])[:, None, None, None].expand(2, 1, 2, 2)
    spread = contrast(start, end)
    assert spread.flatten().tolist() == [1.0, 4.0]
    missing = blend(start, end, 5)[:, 1:-1] * 0 + 2.0
    # Clip one: (0 - 2)^2 / 1 = 4, clip two: 4 / 4 = 1.
    assert float(relative_error(torch.zeros_like(missing), missing, spread)) == pytest.approx(2.5)


def test_refusals() -> None:
    with pytest.raises(InputError, match="9 input channels"):
        VideoInterpolator(dataclasses.replace(MASKED, unet=UNET))
    with pytest.raises(InputError, match="3 frames or more"):
        VideoInterpolator(dataclasses.replace(MASKED, frames=2))
    key, vector = _noise(1, 4, 4, 4), _noise(1, UNET.vector_dim)
    with pytest.raises(InputError, match="a masked interpolator"):
        _seeded(RESIDUAL).condition(key, key)
    with pytest.raises(InputError, match="a residual interpolator"):
        _seeded(MASKED).residual(key, key, _noise(1, 2, 24), vector)
