"""The runtime adapter against weights changed by hand: per layer, per frame, per step, and gone without a trace."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor, nn

import svd_core
from svd_core.camera.adapter import Adapter, Placed, attach, following, portion_at
from svd_core.camera.lora import CameraLora, LowRank
from svd_core.errors import InputError
from svd_core.sinusoid import sinusoid
from svd_core.unet import FAST, LEAN, HoistedUNet, VideoUNet
from tests.deltas import full, lora_of, merge_, paths_of, random_lora
from tests.tiny import TINY_UNET, randomise_
from tests.tolerances import assert_close, relative_max

CLIPS, FRAMES, HEIGHT, WIDTH = 2, 4, 5, 6
RAMP = torch.tensor([0.0, 0.5, 1.0, -0.7])
EVERYTHING = ("",)
# Layers without a frame axis are exact only where all frames have one strength.
SEES_NO_FRAME = ("time_embed.", "label_emb.", "emb_layers.")


@pytest.fixture(scope="module")
def unet() -> VideoUNet:
    torch.set_num_threads(1)
    network = VideoUNet(TINY_UNET)
    randomise_(network)
    return network.eval().requires_grad_(False)


def inputs(tokens: int = 1, frames: int = FRAMES) -> tuple[Tensor, Tensor, Tensor, Tensor, int]:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(CLIPS * frames, 8, HEIGHT, WIDTH, generator=generator)
    context = torch.randn(CLIPS, tokens, TINY_UNET.context_dim, generator=generator)
    ids = torch.tensor([[6.0, 127.0, 0.02], [9.0, 40.0, 0.3]])
    return x, torch.tensor([0.7, -0.4]), context, sinusoid(ids, 256).flatten(1), frames


@torch.no_grad()
def run(unet: VideoUNet, **change: object) -> Tensor:
    return unet(*inputs(**{k: v for k, v in change.items() if k != "plan"}), plan=change.get("plan", FAST))


def overrides(unet: nn.Module) -> list[str]:
    """Everything that was set on the instances."""
    return [f"{path}.{name}" for path, m in unet.named_modules() for name in ("forward", "run") if name in vars(m)]


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
