"""The runtime adapter comes off without a trace, learns, and refuses what does not fit."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

import svd_core
from svd_core.camera.adapter import Adapter, Placed, attach
from svd_core.camera.lora import LowRank
from svd_core.errors import InputError
from svd_core.unet import HoistedUNet, VideoUNet
from tests.adapter_parts import (
    EVERYTHING,
    FRAMES,
    RAMP,
    inputs,
    overrides,
    run,
    small_unet,
)
from tests.deltas import full, lora_of, paths_of, random_lora
from tests.tolerances import assert_close, relative_max


@pytest.fixture(scope="module")
def unet() -> VideoUNet:
    return small_unet()


# Taking off


def test_below_somebody_elses_override(unet: VideoUNet) -> None:
    """Ours on theirs, theirs on ours: what stays behind after detaching is theirs alone."""
    path = "input_blocks.1.1.time_stack.0.attn1.to_v"
    layer = dict(unet.named_modules())[path]
    x = torch.randn(FRAMES, 2, layer.in_features)
    plain = layer(x)
    own = layer.forward
    lora = random_lora(unet, 14, (path,))

    def theirs(x: Tensor) -> Tensor:
        return own(x) * 2

    layer.forward = theirs
    adapter = attach(unet, [(lora, 1.0)])
    assert_close(layer(x), 2 * plain + x @ full(lora.deltas[path]).t(), 1e-6)
    adapter.detach()
    assert layer.forward is theirs and torch.equal(layer(x), 2 * plain)
    del layer.forward
    adapter = attach(unet, [(lora, 1.0)])
    inner = layer.forward
    layer.forward = lambda x: inner(x) * 2
    assert relative_max(layer(x), 2 * plain) > 1e-2
    adapter.detach()
    assert torch.equal(layer(x), 2 * plain)
    del layer.forward
    assert torch.equal(layer(x), plain)


def test_an_input_of_anothers_override_is_not_overwritten(unet: VideoUNet) -> None:
    path = "input_blocks.1.1.time_stack.0.attn1.to_v"
    layer = dict(unet.named_modules())[path]
    x = torch.randn(FRAMES, 2, layer.in_features)
    before = x.clone()
    layer.forward = lambda x: x
    adapter = attach(unet, [(random_lora(unet, 14, (path,)), 1.0)])
    with torch.no_grad():
        assert relative_max(layer(x), before) > 1e-2
    adapter.detach()
    del layer.forward
    assert torch.equal(x, before)


def test_stopping_in_the_middle_leaves_nothing(unet: VideoUNet) -> None:
    plain = run(unet)
    layer = dict(unet.named_modules())["output_blocks.3.1.time_stack.0.attn1.to_q"]
    handle = layer.register_forward_pre_hook(lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))
    adapter = attach(unet, [(random_lora(unet, 15), RAMP)])
    with pytest.raises(KeyboardInterrupt):
        run(unet)
    handle.remove()
    adapter.detach()
    adapter.detach()
    assert torch.equal(run(unet), plain)
    assert overrides(unet) == []


def test_weights_are_never_touched(unet: VideoUNet) -> None:
    before = {name: (p.data_ptr(), p._version) for name, p in unet.named_parameters()}
    adapter = attach(unet, [(random_lora(unet, 16, EVERYTHING), RAMP)])
    run(unet)
    adapter.detach()
    assert {name: (p.data_ptr(), p._version) for name, p in unet.named_parameters()} == before


def test_copies_are_let_go(unet: VideoUNet) -> None:
    adapter = attach(unet, [(random_lora(unet, 17), 1.0)])
    found = run(unet)
    assert any(branch._kept for branch in adapter.branches.values())
    adapter.release()
    assert not any(branch._kept for branch in adapter.branches.values())
    assert torch.equal(run(unet), found)
    adapter.detach()


# Training


def test_deltas_that_learn_get_gradients_and_are_never_stale(unet: VideoUNet) -> None:
    lora = random_lora(unet, 18)
    for delta in lora.deltas.values():
        delta.down.requires_grad_()
        delta.up.requires_grad_()
    adapter = attach(unet, [(lora, RAMP)])
    unet(*inputs()).square().mean().backward()
    dead = ("attn2.to_q", "attn2.to_k")
    for path, delta in lora.deltas.items():
        alive = not path.endswith(dead)
        assert bool(delta.down.grad is not None and delta.down.grad.any()) == alive, path
        assert bool(delta.up.grad is not None and delta.up.grad.any()) == alive, path
    x, _, context, vector, frames = inputs()
    with torch.no_grad():
        hoisted = HoistedUNet(unet, context, vector, frames)
        before, hoisted_before = run(unet), hoisted(x, 0.7)
        for delta in lora.deltas.values():
            delta.up.mul_(2)
        assert relative_max(run(unet), before) > 1e-2, "a stale copy answered"
        assert relative_max(hoisted(x, 0.7), hoisted_before) > 1e-2, "a stale constant answered"
    adapter.detach()


def test_the_gradient_is_the_one_of_changed_weights(unet: VideoUNet) -> None:
    path = "middle_block.1.time_stack.0.attn1.to_v"
    lora = random_lora(unet, 19, (path,))
    delta = lora.deltas[path]
    delta.down.requires_grad_()
    delta.up.requires_grad_()
    adapter = attach(unet, [(lora, 0.6)])
    unet(*inputs()).square().mean().backward()
    adapter.detach()
    network = copy.deepcopy(unet)
    layer = dict(network.named_modules())[path]
    down, up = (t.detach().clone().requires_grad_() for t in (delta.down, delta.up))
    plain, weight = layer.forward, layer.weight
    layer.forward = lambda x: nn.functional.linear(x, weight + 0.6 * delta.scale * up @ down)
    assert plain is not layer.forward
    network(*inputs()).square().mean().backward()
    assert_close(delta.down.grad, down.grad, 1e-4)
    assert_close(delta.up.grad, up.grad, 1e-4)


# Bad input


def test_a_curve_of_another_length_is_refused(unet: VideoUNet) -> None:
    plain = run(unet)
    for frames in (3, 2):
        adapter = attach(unet, [(random_lora(unet, 20), torch.linspace(0, 1, frames))])
        with pytest.raises(InputError, match=f"clips of {frames} frames.*length"):
            run(unet)
        adapter.detach()
    adapter = attach(unet, [(random_lora(unet, 20, ("proj_in",)), torch.linspace(0, 1, FRAMES))])
    with pytest.raises(InputError, match="found 8"):
        run(unet, frames=2 * FRAMES)
    adapter.detach()
    assert torch.equal(run(unet), plain)
    with pytest.raises(InputError, match="one length"):
        attach(unet, [(random_lora(unet, 20), torch.ones(3)), (random_lora(unet, 20), torch.ones(4))])


@pytest.mark.parametrize("strength", [float("nan"), [0.0, float("inf")], [], [[1.0]]])
def test_strengths_that_are_none(unet: VideoUNet, strength: object) -> None:
    with pytest.raises(InputError, match="finite number"):
        attach(unet, [(random_lora(unet, 20), strength)])  # type: ignore[list-item]
    assert overrides(unet) == []


def test_a_lora_for_another_network(unet: VideoUNet) -> None:
    path = "input_blocks.1.1.time_stack.0.attn1.to_q"
    narrow = lora_of({path: LowRank(torch.ones(2, 320), torch.ones(320, 2), 1.0)}, "wide")
    with pytest.raises(InputError, match=r"to_q of shape \(64, 64\); found down \(2, 320\)"):
        attach(unet, [(narrow, 1.0)])
    elsewhere = lora_of({"input_blocks.99.1.proj_in": LowRank(torch.ones(2, 4), torch.ones(4, 2), 1.0)}, "other")
    with pytest.raises(InputError, match=r"every layer of other in the network; found no input_blocks\.99"):
        attach(unet, [(elsewhere, 1.0)])
    norm = lora_of({"input_blocks.1.1.norm": LowRank(torch.ones(2, 64), torch.ones(64, 2), 1.0)})
    with pytest.raises(InputError, match="GroupNorm"):
        attach(unet, [(norm, 1.0)])
    assert overrides(unet) == []


@pytest.mark.parametrize("steps", [(0.5, 0.5), (-0.1, 1.0), (0.2, 1.1)])
def test_step_ranges_that_are_none(steps: tuple[float, float]) -> None:
    with pytest.raises(InputError, match="step range"):
        Placed(lora_of({}), 1.0, steps)


def test_the_names_of_the_package() -> None:
    assert svd_core.attach is attach and svd_core.Placed is Placed and svd_core.Adapter is Adapter


def test_every_kind_of_layer_is_in_the_random_lora(unet: VideoUNet) -> None:
    assert len(paths_of(unet, EVERYTHING)) > len(paths_of(unet)) > 0
