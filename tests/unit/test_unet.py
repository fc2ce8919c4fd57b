"""The UNet against itself: plans, hoisting, single-token collapse, stills, several clips, training."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor

from svd_core.config import NANO, SV3D_P, SVD, ModelConfig
from svd_core.errors import InputError
from svd_core.sinusoid import sinusoid
from svd_core.unet import LEAN, HoistedUNet, VideoUNet, hoist_device, loop_device, place_for_loop
from svd_core.unet.residency import hoisted_modules
from tests.tiny import TINY_UNET, randomise_
from tests.tolerances import assert_close, relative_max

CLIPS, FRAMES, HEIGHT, WIDTH = 2, 5, 9, 13


@pytest.fixture(scope="module")
def unet() -> VideoUNet:
    torch.set_num_threads(1)
    network = VideoUNet(TINY_UNET)
    randomise_(network)
    return network.eval().requires_grad_(False)


@dataclasses.dataclass
class Inputs:
    x: Tensor
    c_noise: Tensor
    context: Tensor
    vector: Tensor

    def clip(self, index: int) -> Inputs:
        rows = slice(index * FRAMES, (index + 1) * FRAMES)
        pick = slice(index, index + 1)
        return Inputs(self.x[rows], self.c_noise[pick], self.context[pick], self.vector[pick])

    def arguments(self) -> tuple[Tensor, Tensor, Tensor, Tensor, int]:
        return self.x, self.c_noise, self.context, self.vector, FRAMES


@pytest.fixture
def inputs() -> Inputs:
    generator = torch.Generator().manual_seed(1)
    ids = torch.tensor([[6.0, 127.0, 0.02], [9.0, 40.0, 0.3]])
    return Inputs(
        x=torch.randn(CLIPS * FRAMES, 8, HEIGHT, WIDTH, generator=generator),
        c_noise=torch.tensor([0.7, -0.4]),
        context=torch.randn(CLIPS, 1, TINY_UNET.context_dim, generator=generator),
        vector=sinusoid(ids, 256).flatten(1),
    )


def test_inference_equals_training_path(unet: VideoUNet, inputs: Inputs) -> None:
    with torch.no_grad():
        overwriting = unet(*inputs.arguments())
    with torch.enable_grad():
        copying = unet(*inputs.arguments())
    assert_close(overwriting, copying, 1e-6)


def test_inputs_are_not_overwritten(unet: VideoUNet, inputs: Inputs) -> None:
    before = [tensor.clone() for tensor in inputs.arguments()[:4]]
    with torch.no_grad():
        unet(*inputs.arguments())
    assert all(torch.equal(a, b) for a, b in zip(before, inputs.arguments()[:4], strict=True))


@torch.no_grad()
def test_lean_plan_changes_rounding_only(unet: VideoUNet, inputs: Inputs) -> None:
    assert_close(unet(*inputs.arguments(), plan=LEAN), unet(*inputs.arguments()), 2e-6)


@torch.no_grad()
def test_collapsed_cross_attention_is_exact(unet: VideoUNet, inputs: Inputs) -> None:
    """The same token twice takes the plain path and must give what the collapsed path gives for one."""
    doubled = dataclasses.replace(inputs, context=inputs.context.repeat(1, 2, 1))
    assert_close(unet(*inputs.arguments()), unet(*doubled.arguments()), 5e-6)
    other = dataclasses.replace(inputs, context=torch.cat([inputs.context, inputs.context.flip(0)], dim=1))
    assert relative_max(unet(*other.arguments()), unet(*inputs.arguments())) > 1e-3, "the second token is ignored"


@torch.no_grad()
def test_hoisted_equals_forward(unet: VideoUNet, inputs: Inputs) -> None:
    hoisted = HoistedUNet(unet, inputs.context, inputs.vector, FRAMES)
    for c_noise in (0.7, -0.4, 0.7):
        expected = unet(inputs.x, torch.full((CLIPS,), c_noise), inputs.context, inputs.vector, FRAMES)
        assert torch.equal(hoisted(inputs.x, c_noise), expected)


@torch.no_grad()
def test_hoisted_notices_changed_weights(inputs: Inputs) -> None:
    network = VideoUNet(TINY_UNET).requires_grad_(False)
    randomise_(network)
    hoisted = HoistedUNet(network, inputs.context, inputs.vector, FRAMES)
    before = hoisted(inputs.x, 0.7)
    value = network.input_blocks[1][1].time_stack[0].attn2.to_v
    value.weight.mul_(2)
    assert torch.equal(hoisted(inputs.x, 0.7), network(inputs.x, torch.full((2,), 0.7), *inputs.arguments()[2:]))
    value.weight.mul_(0.5)
    assert torch.equal(hoisted(inputs.x, 0.7), before)
    for factor in (2.0, 3.0):
        # Another tensor each time, the previous one freed: its address may be given out again.
        value.weight = torch.nn.Parameter(value.weight.detach() * factor, requires_grad=False)
        assert torch.equal(hoisted(inputs.x, 0.7), network(inputs.x, torch.full((2,), 0.7), *inputs.arguments()[2:]))
    before = hoisted(inputs.x, 0.7)
    plain = value.forward
    value.forward = lambda x: plain(x) * 3
    assert relative_max(hoisted(inputs.x, 0.7), before) > 1e-4, "an overridden forward was not noticed"


@torch.no_grad()
def test_clips_in_one_batch_do_not_touch(unet: VideoUNet, inputs: Inputs) -> None:
    together = unet(*inputs.arguments())
    for index in range(CLIPS):
        alone = unet(*inputs.clip(index).arguments())
        assert_close(together[index * FRAMES : (index + 1) * FRAMES], alone, 2e-6)


@torch.no_grad()
def test_image_only_isolates_frames(unet: VideoUNet, inputs: Inputs) -> None:
    stills = torch.zeros(CLIPS, FRAMES, dtype=torch.bool)
    stills[:, 2] = True
    before = unet(*inputs.arguments(), image_only=stills)
    changed = inputs.x.clone()
    changed[0] += 1
    after = unet(changed, *inputs.arguments()[1:], image_only=stills)
    difference = (after - before).view(CLIPS, FRAMES, -1).abs().amax(dim=-1)
    assert difference[0, 2] == 0, "a still frame saw another frame"
    assert difference[0, 3] > 1e-3, "an ordinary frame saw nothing: the test proves nothing"
    everywhere = unet(*inputs.arguments(), image_only=torch.ones_like(stills))
    assert_close(everywhere.view(CLIPS, FRAMES, -1)[:, 2], before.view(CLIPS, FRAMES, -1)[:, 2], 1e-6)


@torch.no_grad()
def test_image_only_zeros_change_nothing(unet: VideoUNet, inputs: Inputs) -> None:
    stills = torch.zeros(CLIPS, FRAMES, dtype=torch.bool)
    assert_close(unet(*inputs.arguments(), image_only=stills), unet(*inputs.arguments()), 1e-6)


@torch.no_grad()
def test_per_frame_rows_equal_per_clip_rows(unet: VideoUNet, inputs: Inputs) -> None:
    expected = unet(*inputs.arguments())
    vector = inputs.vector.unsqueeze(1).expand(-1, FRAMES, -1)
    assert_close(unet(inputs.x, inputs.c_noise, inputs.context, vector, FRAMES), expected, 2e-6)
    noise = inputs.c_noise.repeat_interleave(FRAMES)
    assert_close(unet(inputs.x, noise, inputs.context, inputs.vector, FRAMES), expected, 2e-6)


@torch.no_grad()
def test_per_frame_vector_reaches_its_frame(inputs: Inputs) -> None:
    config = dataclasses.replace(TINY_UNET, vector=SV3D_P.unet.vector)
    network = VideoUNet(config).requires_grad_(False)
    randomise_(network)
    vector = torch.randn(CLIPS, FRAMES, config.vector_dim, generator=torch.Generator().manual_seed(3))
    out = network(inputs.x, inputs.c_noise, inputs.context, vector, FRAMES)
    flipped = network(inputs.x, inputs.c_noise, inputs.context, vector.flip(1), FRAMES)
    assert relative_max(flipped, out) > 1e-3


def test_every_parameter_that_can_learn_gets_a_gradient(inputs: Inputs) -> None:
    network = VideoUNet(TINY_UNET)
    randomise_(network)
    network(*inputs.arguments()).square().mean().backward()
    silent = {name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()}
    # Softmax over one key: these cannot influence the output at all.
    dead = {n for n, _ in network.named_parameters() if ".attn2.to_q" in n or ".attn2.to_k" in n or ".norm2." in n}
    assert silent == dead


@pytest.mark.parametrize(
    ("preset", "parameters", "tensors"), [(SVD, 1_524_623_082, 1428), (SV3D_P, 1_525_278_442, 1428)]
)
def test_size_of_the_published_networks(preset: ModelConfig, parameters: int, tensors: int) -> None:
    with torch.device("meta"):
        network = VideoUNet(preset.unet)
    assert sum(p.numel() for p in network.parameters()) == parameters
    assert len(network.state_dict()) == tensors


@torch.no_grad()
def test_nano_runs_at_any_size() -> None:
    network = VideoUNet(NANO.unet).requires_grad_(False)
    context, vector = torch.zeros(1, 1, NANO.unet.context_dim), torch.zeros(1, NANO.unet.vector_dim)
    for size in ((8, 8), (5, 11), (1, 2)):
        x = torch.zeros(3, NANO.unet.in_channels, *size)
        assert network(x, torch.zeros(1), context, vector, 3).shape == (3, NANO.unet.out_channels, *size)


def test_wrong_shapes_say_what_is_wrong(unet: VideoUNet, inputs: Inputs) -> None:
    with pytest.raises(InputError, match="num_frames"):
        unet(*inputs.arguments()[:4], FRAMES + 1)
    with pytest.raises(InputError, match="vector"):
        unet(inputs.x, inputs.c_noise, inputs.context, inputs.vector[:, :-1], FRAMES)
    with pytest.raises(InputError, match="context"):
        unet(inputs.x, inputs.c_noise, inputs.context[..., :-1], inputs.vector, FRAMES)


@torch.no_grad()
def test_the_loop_never_touches_hoisted_weights(inputs: Inputs) -> None:
    """Hoisted weights on a device without data: any use of them in the loop would give a meta tensor or an error."""
    network = VideoUNet(TINY_UNET).requires_grad_(False)
    randomise_(network)
    hoisted = HoistedUNet(network, inputs.context, inputs.vector, FRAMES)
    expected = hoisted(inputs.x, 0.7)
    constants = hoisted.constants(0.7, inputs.x.device)
    for module in hoisted_modules(network):
        module.to("meta")
    assert torch.equal(network.run(inputs.x, constants), expected)


def test_place_for_loop_moves_only_the_loop() -> None:
    network = VideoUNet(TINY_UNET)
    hoisted = {id(p) for module in hoisted_modules(network) for p in module.parameters()}
    place_for_loop(network, "meta")
    assert loop_device(network).type == "meta"
    assert hoist_device(network).type == "cpu"
    assert {id(p) for p in network.parameters() if p.device.type == "cpu"} == hoisted
