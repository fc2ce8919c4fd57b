"""The autoencoder on its own: names, clips apart, switches, training. Numbers against diffusers: tests/parity."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor, nn

from svd_core.autoencoder.autoencoder import Autoencoder
from svd_core.autoencoder.temporal import VideoResBlock, start_temporal_as_identity_
from svd_core.config import SV3D_U, SVD, AutoencoderConfig
from svd_core.errors import InputError
from tests.tiny import randomise_
from tests.tolerances import assert_close, relative_max

CONFIG = AutoencoderConfig(
    channels=(8, 8, 16),
    res_blocks=1,
    latent_channels=3,
    norm_groups=4,
    temporal_decoder=True,
    quant_conv=True,
    post_quant_conv=True,
    scale_factor=1.0,
)
IMAGE = dataclasses.replace(CONFIG, temporal_decoder=False)


@pytest.fixture(scope="module")
def network() -> Autoencoder:
    made = Autoencoder(CONFIG)
    randomise_(made, 1)
    return made.eval()


def latents(count: int, seed: int = 0) -> Tensor:
    return torch.randn(count, 3, 4, 6, generator=torch.Generator().manual_seed(seed))


def test_published_sizes() -> None:
    """Parameter counts of the published first stages, encoder's quant convolution included."""
    counts = {
        name: (len(list(network.parameters())), sum(parameter.numel() for parameter in network.parameters()))
        for name, network in {
            "svd": Autoencoder(SVD.autoencoder, device="meta"),
            "sv3d decoder": Autoencoder(SV3D_U.autoencoder, device="meta").decoder,
            "image decoder": Autoencoder(dataclasses.replace(SV3D_U.autoencoder, post_quant_conv=True), device="meta"),
        }.items()
    }
    assert counts == {
        "svd": (374, 97_742_847),
        "sv3d decoder": (138, 49_490_179),
        "image decoder": (248, 83_653_863),
    }


def test_names_are_the_original_ones() -> None:
    names = set(Autoencoder(SVD.autoencoder, device="meta").state_dict())
    assert {
        "encoder.down.1.block.0.nin_shortcut.weight",
        "encoder.down.2.downsample.conv.bias",
        "encoder.mid.attn_1.proj_out.weight",
        "quant_conv.weight",
        "decoder.mid.block_1.mix_factor",
        "decoder.mid.block_1.time_stack.in_layers.2.weight",
        "decoder.up.0.block.2.time_stack.out_layers.3.bias",
        "decoder.up.3.upsample.conv.weight",
        "decoder.conv_out.time_mix_conv.weight",
    } <= names


def test_encode_is_the_mean(network: Autoencoder) -> None:
    pixels = torch.rand(2, 3, 16, 24, generator=torch.Generator().manual_seed(0)) * 2 - 1
    kept = pixels.clone()
    with torch.no_grad():
        mean, logvar = network.moments(pixels)
        assert torch.equal(network.encode(pixels), mean)
    assert mean.shape == logvar.shape == (2, 3, 4, 6)
    assert torch.equal(pixels, kept), "encoding changed its argument"


def test_clips_of_one_batch_stay_apart(network: Autoencoder) -> None:
    both = latents(6)
    kept = both.clone()
    with torch.no_grad():
        assert_close(network.decode(both, 3)[3:], network.decode(both[3:], 3), 1e-5)
        moved = relative_max(network.decode(both[3:], 3), network.decode(both[3:], None))
    assert torch.equal(both, kept), "decoding changed its argument"
    assert moved > 0.01, f"the temporal layers moved the result by only {moved:.1e}: this test cannot fail"


def test_image_only_isolates_frames(network: Autoencoder) -> None:
    both = latents(4)
    with torch.no_grad():
        switched = network.decode(both, 4, image_only=True)
        assert torch.equal(switched, network.decode(both))
        assert_close(switched[2:3], network.decode(both[2:3]), 1e-5)


def test_image_decoder_ignores_the_frame_count() -> None:
    network = Autoencoder(IMAGE)
    randomise_(network)
    with torch.no_grad():
        assert torch.equal(network.decode(latents(4), 2), network.decode(latents(4)))


@pytest.mark.parametrize("frames", [0, 3])
def test_half_a_clip_is_refused(network: Autoencoder, frames: int) -> None:
    with pytest.raises(InputError, match="4 latents"):
        network.decode(latents(4), frames)


def test_training_and_inference_agree(network: Autoencoder) -> None:
    """The in-place path of inference against the copying path of training."""
    recorded = network.decode(latents(3), 3)
    with torch.no_grad():
        assert_close(network.decode(latents(3), 3), recorded.detach(), 1e-6)


def test_every_parameter_learns() -> None:
    network = Autoencoder(CONFIG)
    randomise_(network)
    pixels = torch.rand(2, 3, 16, 24, generator=torch.Generator().manual_seed(0)) * 2 - 1
    mean, logvar = network.moments(pixels)
    (network.decode(mean + (logvar / 2).exp(), 2).square().mean()).backward()
    silent = [name for name, value in network.named_parameters() if value.grad is None or not value.grad.any()]
    # A key's bias shifts every score of a query alike, which softmax does not see.
    assert [name for name in silent if not name.endswith("attn_1.k.bias")] == []


def test_identity_start_changes_nothing() -> None:
    network = Autoencoder(CONFIG)
    randomise_(network)
    start_temporal_as_identity_(network.decoder)
    with torch.no_grad():
        assert_close(network.decode(latents(4), 4), network.decode(latents(4)), 1e-6)


def test_share_is_computed_in_float32() -> None:
    network = Autoencoder(CONFIG, dtype=torch.bfloat16)
    block = next(module for module in network.modules() if isinstance(module, VideoResBlock))
    with torch.no_grad():
        block.mix_factor.fill_(3.0)
    exact = torch.sigmoid(torch.tensor(3.0))
    assert block.temporal_share(torch.zeros(1)) == exact
    assert block.temporal_share(torch.zeros(1, dtype=torch.bfloat16)) == exact.bfloat16()


def test_layers_come_from_the_namespace() -> None:
    class Counting:
        made = 0

        def __getattr__(self, name: str) -> object:
            def make(*arguments: object, **options: object) -> nn.Module:
                type(self).made += 1
                return getattr(nn, name)(*arguments, **options)

            return make

    network = Autoencoder(CONFIG, operations=Counting(), device="meta")
    kinds = (nn.Conv2d, nn.Conv3d, nn.GroupNorm)
    assert Counting.made == sum(isinstance(module, kinds) for module in network.modules()) > 0
