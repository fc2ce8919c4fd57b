"""The runtime adapter against weights changed by hand: per layer, per frame, per step, and gone without a trace."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor, nn

from svd_core.camera.adapter import Adapter, Placed, attach, following, portion_at
from svd_core.camera.lora import CameraLora
from svd_core.unet import FAST, LEAN, HoistedUNet, VideoUNet
from tests.adapter_parts import (
    CLIPS,
    EVERYTHING,
    FRAMES,
    RAMP,
    SEES_NO_FRAME,
    inputs,
    overrides,
    run,
    small_unet,
)
from tests.deltas import full, lora_of, merge_, random_lora
from tests.tolerances import assert_close, relative_max


@pytest.fixture(scope="module")
def unet() -> VideoUNet:
    return small_unet()


@pytest.mark.parametrize("parts", [("time_stack.0.attn1.",), EVERYTHING], ids=["temporal attention", "every layer"])
@pytest.mark.parametrize("plan", [FAST, LEAN], ids=["fast", "lean"])
def test_one_strength_equals_changed_weights(unet: VideoUNet, parts: Sequence[str], plan: object) -> None:
    lora = random_lora(unet, 2, parts)
    expected = run(merge_(copy.deepcopy(unet), [(lora, 0.8)]), plan=plan)
    adapter = attach(unet, [(lora, 0.8)])
    found = run(unet, plan=plan)
    adapter.detach()
    assert relative_max(expected, run(unet)) > 1e-2, "the LoRA does nothing: the test proves nothing"
    assert_close(found, expected, 1e-5)
    assert adapter.notes == ()


@pytest.mark.parametrize("path", ["input_blocks.1.1.time_stack.0.attn1.to_q", "input_blocks.1.1.proj_in"])
@torch.no_grad()
def test_each_frame_of_a_linear_layer_has_its_own_strength(unet: VideoUNet, path: str) -> None:
    layer = dict(unet.named_modules())[path]
    lora = random_lora(unet, 3, (path,))
    x = torch.randn(CLIPS * FRAMES, 7, layer.in_features)
    plain = layer(x)
    change = x @ full(lora.deltas[path]).t()
    expected = plain + RAMP.repeat(CLIPS).view(-1, 1, 1) * change
    adapter = attach(unet, [(lora, RAMP)])
    found = layer(x)
    adapter.detach()
    assert_close(found, expected, 1e-6)
    assert torch.equal(found[::FRAMES], plain[::FRAMES]), "a frame at strength 0 is not the base projection"


@pytest.mark.parametrize(
    ("path", "shape"),
    [
        ("input_blocks.1.0.time_stack.in_layers.2", (CLIPS, 64, FRAMES, 3, 5)),
        ("input_blocks.1.0.in_layers.2", (CLIPS * FRAMES, 64, 3, 5)),
        ("input_blocks.3.0.op", (CLIPS * FRAMES, 64, 4, 6)),
        ("input_blocks.4.0.skip_connection", (CLIPS * FRAMES, 64, 4, 6)),
    ],
)
@torch.no_grad()
def test_each_frame_of_a_convolution_has_its_own_strength(unet: VideoUNet, path: str, shape: tuple[int, ...]) -> None:
    layer = dict(unet.named_modules())[path]
    lora = random_lora(unet, 3, (path,))
    x = torch.randn(shape)
    plain = layer(x)
    changed = copy.deepcopy(layer)
    changed.weight += full(lora.deltas[path])
    time = RAMP.view(1, 1, -1, 1, 1) if len(shape) == 5 else RAMP.repeat(CLIPS).view(-1, 1, 1, 1)
    adapter = attach(unet, [(lora, RAMP)])
    found = layer(x)
    adapter.detach()
    assert_close(found, plain + time * (changed(x) - plain), 2e-6)


def by_hand(unet: VideoUNet, lora: CameraLora, strengths: Tensor, **change: int) -> Tensor:
    """The same run with every layer answering frame by frame from weights changed by hand."""
    network = copy.deepcopy(unet)
    for path, delta in lora.deltas.items():
        layer = dict(network.named_modules())[path]
        layer.forward = _frame_by_frame(layer, layer.forward, full(delta), strengths)
    return run(network, **change)


def _frame_by_frame(layer: nn.Module, plain: Callable[..., Tensor], change: Tensor, s: Tensor) -> Callable[..., Tensor]:
    def forward(x: Tensor) -> Tensor:
        axis = 2 if x.ndim == 5 else 0
        per_row = s if axis == 2 else s.repeat(x.shape[0] // len(s))
        kept, answers = layer.weight, []
        for value in per_row.unique():
            layer.weight = nn.Parameter(kept + value * change, requires_grad=False)
            answers.append((value, plain(x)))
        layer.weight = kept
        out = torch.empty_like(answers[0][1])
        for value, answer in answers:
            rows = per_row == value
            out.movedim(axis, 0)[rows] = answer.movedim(axis, 0)[rows]
        return out

    # As an adapter does, so that the feed-forward leaves the frames where they are.
    forward.states = lambda: (forward,)
    return forward


@pytest.mark.parametrize("tokens", [1, 3], ids=["one token", "three tokens"])
@pytest.mark.parametrize("plan", [FAST, LEAN], ids=["fast", "lean"])
def test_a_ramp_through_the_whole_network(unet: VideoUNet, tokens: int, plan: object) -> None:
    everything = random_lora(unet, 4, EVERYTHING)
    lora = lora_of({p: d for p, d in everything.deltas.items() if not any(part in p for part in SEES_NO_FRAME)})
    expected = by_hand(unet, lora, RAMP, tokens=tokens)
    adapter = attach(unet, [(lora, RAMP)])
    found = run(unet, tokens=tokens, plan=plan)
    adapter.detach()
    assert relative_max(found, run(unet, tokens=tokens)) > 1e-2
    assert_close(found, expected, 1e-5)


def test_layers_that_see_no_frame_take_the_mean_and_say_so(unet: VideoUNet) -> None:
    lora = random_lora(unet, 5, SEES_NO_FRAME)
    expected = run(merge_(copy.deepcopy(unet), [(lora, float(RAMP.mean()))]))
    adapter = attach(unet, [(lora, RAMP)])
    found = run(unet)
    (note,) = adapter.notes
    adapter.detach()
    assert_close(found, expected, 1e-5)
    assert "mean strength" in note and "time_embed.0" in note


def test_several_loras_add_up(unet: VideoUNet) -> None:
    loras = [random_lora(unet, seed, rank=rank) for seed, rank in ((6, 2), (7, 5), (8, 1))]
    strengths = (0.5, -1.0, 2.0)
    pairs = list(zip(loras, strengths, strict=True))
    expected = run(merge_(copy.deepcopy(unet), pairs))
    adapter = attach(unet, pairs)
    together = run(unet)
    adapter.detach()
    one_by_one = [attach(unet, [pair]) for pair in pairs]
    nested = run(unet)
    for adapter in (one_by_one[1], one_by_one[0], one_by_one[2]):
        adapter.detach()
    assert_close(together, expected, 1e-5)
    assert_close(nested, expected, 1e-5)
    assert overrides(unet) == []


@pytest.mark.parametrize("strength", [0.0, torch.zeros(FRAMES)], ids=["number", "curve"])
def test_strength_zero_is_bit_equal(unet: VideoUNet, strength: float | Tensor) -> None:
    plain = run(unet)
    adapter = attach(unet, [(random_lora(unet, 9, EVERYTHING), strength)])
    assert torch.equal(run(unet), plain)
    adapter.retune([1.0])
    assert relative_max(run(unet), plain) > 1e-2
    adapter.detach()
    assert torch.equal(run(unet), plain)
    assert overrides(unet) == []


def test_half_precision_weights(unet: VideoUNet) -> None:
    network = copy.deepcopy(unet).bfloat16()
    lora = random_lora(unet, 10)
    x, c_noise, context, vector, frames = inputs()
    given = (x.bfloat16(), c_noise, context.bfloat16(), vector, frames)
    with torch.no_grad():
        plain = network(*given)
        adapter = attach(network, [(lora, RAMP)])
        found = network(*given)
        adapter.detach()
        assert torch.equal(network(*given), plain)
    reference = attach(unet, [(lora, RAMP)])
    expected = run(unet)
    reference.detach()
    assert found.dtype == torch.bfloat16
    assert relative_max(found, expected) < 0.1 < relative_max(plain, expected)


# Hoisted constants


@torch.no_grad()
def test_hoisted_constants_follow_the_adapter(unet: VideoUNet) -> None:
    """Attach, other strengths, a step range, detach: each must show in the next call."""
    x, _, context, vector, frames = inputs()
    hoisted = HoistedUNet(unet, context, vector, frames)
    lora = random_lora(unet, 11, ("time_stack.0.attn2.", "transformer_blocks.0.attn2."))

    def expect(strengths: Tensor | None) -> None:
        fresh = copy.deepcopy(unet_without)
        if strengths is not None:
            attach(fresh, [(lora, strengths)])
        assert torch.equal(hoisted(x, 0.7), fresh(x, torch.full((CLIPS,), 0.7), context, vector, frames))

    unet_without = copy.deepcopy(unet)
    expect(None)
    adapter = attach(unet, [Placed(lora, RAMP, steps=(0.0, 0.5))])
    expect(RAMP)
    adapter.at(0.25)
    expect(RAMP)
    adapter.at(0.5)
    expect(None)
    adapter.at(0.0)
    adapter.retune([RAMP.flip(0)])
    expect(RAMP.flip(0))
    adapter.detach()
    expect(None)


@torch.no_grad()
def test_constants_stay_while_nothing_changes(unet: VideoUNet) -> None:
    x, _, context, vector, frames = inputs()
    hoisted = HoistedUNet(unet, context, vector, frames)
    adapter = attach(unet, [Placed(random_lora(unet, 12), RAMP, steps=(0.0, 0.5))])
    adapter.at(0.1)
    before = hoisted.constants(0.7, x.device)
    adapter.at(0.4)
    assert hoisted.constants(0.7, x.device) is before
    adapter.at(0.6)
    assert hoisted.constants(0.7, x.device) is not before
    adapter.detach()


# Steps


def test_which_steps_a_move_acts_in() -> None:
    lora = lora_of({})
    early, late = Placed(lora, 1.0, (0.0, 0.5)), Placed(lora, 1.0, (0.5, 1.0))
    assert [early.active(index / 4) for index in range(4)] == [True, True, False, False]
    assert [late.active(index / 4) for index in range(4)] == [False, False, True, True]
    assert late.active(1.0)


def test_the_place_of_a_noise_level() -> None:
    levels = torch.tensor([700.0, 100.0, 10.0, 0.1]).tolist()
    assert [portion_at(sigma, levels) for sigma in (700.0, 300.0, 100.0, 10.0000001, 0.1, 0.0)] == [
        0.0,
        0.0,
        0.25,
        0.5,
        0.75,
        0.75,
    ]
    assert portion_at(900.0, levels) == 0.0


def test_a_denoiser_tells_the_adapter_where_it_is(unet: VideoUNet) -> None:
    told: list[float] = []
    adapter = Adapter(unet, [Placed(random_lora(unet, 13), 1.0, (0.0, 0.5))])
    adapter.at = told.append  # type: ignore[method-assign]
    denoise = following(lambda x, sigma: x * sigma, adapter, torch.tensor([8.0, 4.0, 2.0, 0.0]))
    assert float(denoise(torch.ones(()), torch.tensor(4.0))) == 4.0
    denoise(torch.ones(()), torch.tensor(2.0))
    assert told == [1 / 3, 2 / 3]
