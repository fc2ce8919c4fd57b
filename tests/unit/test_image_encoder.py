"""The image encoder on its own. Numbers against transformers and diffusers: tests/parity."""

from __future__ import annotations

import dataclasses

import pytest
import torch
import torch.nn.functional as F

from svd_core.config import SVD, ImageEncoderConfig
from svd_core.errors import InputError
from svd_core.image_encoder.image_encoder import ImageEncoder
from svd_core.image_encoder.preprocessing import crop, preprocess
from tests.tiny import randomise_
from tests.tolerances import assert_close, relative_max

CONFIG = ImageEncoderConfig(
    image_size=16, patch_size=4, width=16, layers=2, heads=2, mlp_width=32, projection=8, preprocessing="sgm"
)


def make(config: ImageEncoderConfig = CONFIG) -> ImageEncoder:
    network = ImageEncoder(config)
    randomise_(network)
    return network.eval()


def picture(height: int, width: int) -> torch.Tensor:
    return torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_published_size() -> None:
    network = ImageEncoder(SVD.image_encoder, device="meta")
    parameters = list(network.parameters())
    assert (len(parameters), sum(parameter.numel() for parameter in parameters)) == (520, 632_076_800)


@pytest.mark.parametrize("shape", [(16, 16), (9, 40), (1, 1), (33, 20)], ids=str)
@pytest.mark.parametrize("way", ["sgm", "host"])
def test_any_picture_size(shape: tuple[int, int], way: str) -> None:
    pixels = picture(*shape)
    kept = pixels.clone()
    with torch.no_grad():
        embedding = make(dataclasses.replace(CONFIG, preprocessing=way))(pixels)
    assert embedding.shape == (2, 8)
    assert embedding.isfinite().all()
    assert torch.equal(pixels, kept), "the picture was changed"


def test_lonely_class_token_equals_all_tokens() -> None:
    """The last layer computes one token; computing all of them gives the same one."""
    network = make()
    model = network.vision_model
    images = preprocess(picture(16, 16), 16)
    with torch.no_grad():
        tokens = model.pre_layrnorm(model.embeddings(images))
        for layer in model.encoder.layers:
            tokens = layer(tokens)
        everything = network.visual_projection(model.post_layernorm(tokens)[:, 0])
        assert_close(network.embed(images), everything, 1e-6)


def test_pictures_of_a_batch_stay_apart() -> None:
    network = make()
    pixels = picture(20, 30)
    with torch.no_grad():
        assert_close(network(pixels)[1:], network(pixels[1:]), 1e-5)


def test_dtype_of_the_tower_is_that_of_its_weights() -> None:
    network = make().to(torch.bfloat16)
    with torch.no_grad():
        assert network(picture(16, 16)).dtype == torch.bfloat16


def test_shape_is_checked() -> None:
    with pytest.raises(InputError, match=r"\(3, 16, 16\)"):
        make()(torch.zeros(3, 16, 16))


def test_host_crop_keeps_the_centre_on_the_8_bit_grid() -> None:
    """The recipe in other words: short side to size, antialiased bicubic, centre square, 255 steps."""
    pixels = picture(32, 64)
    unit = F.interpolate((pixels + 1) / 2, (16, 32), mode="bicubic", antialias=True)[..., 8:24]
    expected = (unit.clamp(0, 1) * 255).round() / 255 * 2 - 1
    assert_close(crop(pixels, 16), expected, 1e-6)
    assert relative_max(preprocess(pixels, 16, "host"), preprocess(pixels, 16, "sgm")) > 0.1


def test_a_picture_of_the_right_size_passes_unfiltered() -> None:
    pixels = picture(16, 16)
    mean, std = torch.tensor([0.4815, 0.4578, 0.4082]), torch.tensor([0.2686, 0.2613, 0.2758])
    expected = ((pixels + 1) / 2 - mean.view(3, 1, 1)) / std.view(3, 1, 1)
    assert_close(preprocess(pixels, 16), expected, 1e-3)
