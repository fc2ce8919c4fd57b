"""The UNet against diffusers' on the same random weights, and mistakes that the same comparison must catch."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from unittest import mock

import diffusers
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from svd_core import inplace
from svd_core.config import SVD, UNetConfig
from svd_core.sinusoid import sinusoid
from svd_core.unet import VideoUNet
from svd_core.unet.temporal import AlphaBlender
from svd_core.weights.keymaps import Place, unet_rules
from tests.parity.diffusers_twin import exported, set_original_eps
from tests.tiny import TINY_UNET, randomise_
from tests.tolerances import assert_close, relative_l2, relative_max

CLIPS, FRAMES = 2, 5
LIMIT = 1e-5

ONE_RES_BLOCK = dataclasses.replace(TINY_UNET, channels=(32, 64, 64, 64), res_blocks=1)
WIDE_HEADS = dataclasses.replace(TINY_UNET, channels=(64, 64, 128, 192), head_channels=64)
CONFIGS = {"tiny": TINY_UNET, "one res block": ONE_RES_BLOCK, "wide heads": WIDE_HEADS}


def twin(config: UNetConfig, ours: VideoUNet) -> nn.Module:
    theirs = diffusers.UNetSpatioTemporalConditionModel(
        in_channels=config.in_channels,
        out_channels=config.out_channels,
        block_out_channels=config.channels,
        layers_per_block=config.res_blocks,
        addition_time_embed_dim=config.vector[0].width,
        projection_class_embeddings_input_dim=config.vector_dim,
        cross_attention_dim=config.context_dim,
        num_attention_heads=tuple(width // config.head_channels for width in config.channels),
        num_frames=FRAMES,
    )
    assert set_original_eps(theirs) > 0
    theirs.load_state_dict(exported(ours, unet_rules(Place("", "diffusers"), config)))
    return theirs.eval().requires_grad_(False)


@dataclasses.dataclass(frozen=True)
class Case:
    """One input for both, small activations included: the norms' eps shows only there."""

    x: Tensor
    context: Tensor
    ids: Tensor
    c_noise: float

    @staticmethod
    def draw(config: UNetConfig, height: int, width: int, scale: float = 1.0) -> Case:
        generator = torch.Generator().manual_seed(7)
        return Case(
            x=scale * torch.randn(CLIPS * FRAMES, config.in_channels, height, width, generator=generator),
            context=torch.randn(CLIPS, 1, config.context_dim, generator=generator),
            ids=torch.tensor([[6.0, 127.0, 0.02], [9.0, 40.0, 0.3]]),
            c_noise=0.7,
        )

    def ours(self, unet: VideoUNet) -> Tensor:
        vector = sinusoid(self.ids, 256).flatten(1)
        return unet(self.x, torch.full((CLIPS,), self.c_noise), self.context, vector, FRAMES)

    def theirs(self, unet: nn.Module) -> Tensor:
        sample = self.x.unflatten(0, (CLIPS, FRAMES))
        return unet(sample, torch.tensor(self.c_noise), self.context, self.ids, return_dict=False)[0].flatten(0, 1)

    def to(self, dtype: torch.dtype) -> Case:
        return dataclasses.replace(self, x=self.x.to(dtype), context=self.context.to(dtype), ids=self.ids.to(dtype))


@pytest.fixture(scope="module")
def tiny() -> tuple[VideoUNet, nn.Module]:
    torch.set_num_threads(1)
    ours = VideoUNet(TINY_UNET).eval().requires_grad_(False)
    randomise_(ours)
    return ours, twin(TINY_UNET, ours)


@torch.no_grad()
@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("size", [(16, 24), (9, 13)], ids=["even", "odd"])
def test_equals_diffusers(name: str, size: tuple[int, int]) -> None:
    config = CONFIGS[name]
    ours = VideoUNet(config).eval()
    randomise_(ours, seed=11)
    case = Case.draw(config, *size)
    assert_close(case.ours(ours), case.theirs(twin(config, ours)), LIMIT)


def _swapped_polarity(self: AlphaBlender, image_only: Tensor | None, like: Tensor) -> Tensor:
    return self.mix_factor.sigmoid().to(like)


def _tanh_geglu(projected: Tensor) -> Tensor:
    value, gate = projected.chunk(2, dim=-1)
    return value * F.gelu(gate, approximate="tanh")


MISTAKES: dict[str, Callable[[], object]] = {
    "swapped blend polarity": lambda: mock.patch.object(AlphaBlender, "temporal_weight", _swapped_polarity),
    "tanh GELU": lambda: mock.patch.object(inplace, "geglu", _tanh_geglu),
}


@torch.no_grad()
@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_caught(mistake: str, tiny: tuple[VideoUNet, nn.Module]) -> None:
    ours, theirs = tiny
    case = Case.draw(TINY_UNET, 9, 13)
    with MISTAKES[mistake]():
        error = relative_max(case.ours(ours), case.theirs(theirs))
    assert error > LIMIT, f"{mistake} passes with {error:.2e}"


@torch.no_grad()
def test_wrong_eps_is_caught(tiny: tuple[VideoUNet, nn.Module]) -> None:
    """At unit variance an eps of 1e-6 hides near the noise floor; a network whose activations are small shows it."""
    ours, _ = tiny
    quiet = VideoUNet(TINY_UNET).eval().requires_grad_(False)
    quiet.load_state_dict(ours.state_dict())
    quiet.input_blocks[0][0].weight.mul_(0.02)
    quiet.input_blocks[0][0].bias.mul_(0.02)
    reference = twin(TINY_UNET, quiet)
    case = Case.draw(TINY_UNET, 9, 13)
    assert_close(case.ours(quiet), case.theirs(reference), LIMIT)
    for name, module in reference.named_modules():
        if isinstance(module, nn.GroupNorm) and "_res_block.norm" in name:
            module.eps = 1e-6
    error = relative_max(case.ours(quiet), case.theirs(reference))
    assert error > LIMIT, f"eps 1e-6 passes with {error:.2e}"


@torch.no_grad()
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_no_worse_than_theirs(dtype: torch.dtype, tiny: tuple[VideoUNet, nn.Module]) -> None:
    ours, _ = tiny
    case = Case.draw(TINY_UNET, 16, 24)
    exact = case.to(torch.float64).theirs(twin(TINY_UNET, ours).double())
    halves = case.to(dtype)
    ours_half, theirs_half = VideoUNet(TINY_UNET, dtype=dtype).eval(), twin(TINY_UNET, ours).to(dtype)
    ours_half.load_state_dict(ours.state_dict())
    mine = relative_l2(halves.ours(ours_half), exact)
    yours = relative_l2(dataclasses.replace(halves, ids=case.ids).theirs(theirs_half), exact)
    # Two rounding orders of the same function: equal up to the scatter of a random walk.
    assert mine <= 1.1 * yours, f"error against fp64: ours {mine:.2e}, diffusers {yours:.2e}"


@torch.no_grad()
@pytest.mark.parametrize(("channels", "size"), [(320, (24, 24)), (1280, (12, 12))])
def test_full_size_blocks(channels: int, size: tuple[int, int]) -> None:
    """One res block and one transformer at the published widths, inside a one-level network around them."""
    from diffusers.models.resnet import SpatioTemporalResBlock
    from diffusers.models.transformers.transformer_temporal import TransformerSpatioTemporalModel

    from svd_core.operations import Layers
    from svd_core.unet.inflated import ClipSignals, SpatialVideoTransformer, VideoResBlock

    torch.set_num_threads(1)
    frames, embed = 14, SVD.unet.embed_dim
    res = VideoResBlock(Layers(), SVD.unet, channels, channels)
    transformer = SpatialVideoTransformer(Layers(), SVD.unet, channels)
    randomise_(res, 1), randomise_(transformer, 2)
    res_twin = SpatioTemporalResBlock(channels, channels, embed, eps=1e-5)
    transformer_twin = TransformerSpatioTemporalModel(
        channels // 64, 64, in_channels=channels, num_layers=1, cross_attention_dim=1024
    )
    res_twin.load_state_dict(_block_tensors(res, "res"))
    transformer_twin.load_state_dict(_block_tensors(transformer, "transformer"))
    generator = torch.Generator().manual_seed(5)
    x = torch.randn(frames, channels, *size, generator=generator)
    embedding = torch.randn(1, embed, generator=generator)
    context = torch.randn(1, 1, 1024, generator=generator)
    clip = ClipSignals(context, frames, None, True)
    still = torch.zeros(1, frames)
    expected = res_twin(x, embedding.repeat(frames, 1), image_only_indicator=still)
    assert_close(res(x, res.prepare(F.silu(embedding), clip)), expected, 1e-6)
    expected = transformer_twin(x, context.repeat(frames, 1, 1), image_only_indicator=still, return_dict=False)[0]
    assert_close(transformer(x.clone(), transformer.prepare(clip), 1), expected, 1e-6)


def _block_tensors(block: nn.Module, kind: str) -> dict[str, Tensor]:
    """The tensors of one block under diffusers' names, cut out of the network-wide table."""
    ours, theirs = {
        "res": ("input_blocks.1.0.", "down_blocks.0.resnets.0."),
        "transformer": ("input_blocks.1.1.", "down_blocks.0.attentions.0."),
    }[kind]
    names = {rule.targets[0]: rule.sources[0] for rule in unet_rules(Place("", "diffusers"), SVD.unet)}
    return {names[ours + name].removeprefix(theirs): tensor for name, tensor in block.state_dict().items()}
