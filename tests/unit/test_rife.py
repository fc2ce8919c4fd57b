"""RIFE's layouts: told by their tensors, and equal to the published networks on random weights."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from svd_core.errors import UnsupportedModelError, WeightsMismatchError
from svd_core.interpolation.networks.rife import Rife, warp
from svd_core.operations import Layers
from svd_core.rife_layouts import LAYOUTS, plain_name, rife_config
from svd_core.weights import load_interpolator
from tests.rife import Recorded, frames, recorded, sparse, weights

RUNS = sorted(recorded())


@cache
def network(name: str) -> Rife:
    run = recorded()[name]
    config = rife_config(run.shapes)
    assert config is not None
    made = Rife(config, Layers(device="meta")).eval().requires_grad_(False)
    tensors = {plain_name(key): tensor for key, tensor in weights(run.shapes, run.spread).items()}
    made.load_state_dict(tensors, strict=True, assign=True)
    made.flow_scale, made.refine = run.flow_scale, run.refine
    return made


def made_by(run: Recorded) -> torch.Tensor:
    return network(run.name)(*frames(2, run.size), torch.tensor(run.times))


@pytest.mark.parametrize("name", RUNS)
def test_each_layout_is_what_was_published(name: str) -> None:
    run = recorded()[name]
    assert network(name).config.layout.name == run.layout
    first, second = frames(2, run.size)
    output = made_by(run)
    torch.testing.assert_close(sparse(output), run.expected, atol=1e-4, rtol=0)
    for other in (first, second, (first + second) / 2):
        assert (run.expected - sparse(other)).abs().mean() > 0.02, "a network that moves nothing proves nothing"


def test_every_row_of_the_table_was_recorded() -> None:
    assert {run.layout for run in recorded().values()} == {row.name for row in LAYOUTS}


def test_recorded_flows_are_pixels_and_masks_decide_nothing_alone() -> None:
    for name in ("4.6", "4.25", "4.0 fast motion"):
        run = recorded()[name]
        net, (first, second) = network(name), frames(2, run.size)
        clock = torch.full((2, 1, *run.size), 0.3)
        motion = net.motion((first, second), (net.encoded(first), net.encoded(second)), clock)
        assert motion.flow.abs().mean() > 1
        undecided = (motion.mask.abs() < 4).float().mean()
        assert undecided > (0.3 if name == "4.0 fast motion" else 0.95)


def test_a_batch_changes_nothing() -> None:
    for name in ("4.0 fast motion", "4.25"):
        run = recorded()[name]
        first, second = frames(2, run.size)
        alone = [
            network(name)(first[row : row + 1], second[row : row + 1], torch.tensor(run.times[row : row + 1]))
            for row in (0, 1)
        ]
        torch.testing.assert_close(made_by(run), torch.cat(alone), atol=2e-5, rtol=0)


def test_transparency_moves_with_the_colours() -> None:
    run = recorded()["4.25"]
    first, second = (torch.cat((frame, frame[:, 1:2]), dim=1) for frame in frames(2, run.size))
    output = network("4.25")(first, second, torch.tensor(run.times))
    torch.testing.assert_close(output[:, 3], output[:, 1])
    torch.testing.assert_close(output[:, :3], made_by(run), atol=1e-6, rtol=0)


def test_warp_reads_where_flow_points_and_repeats_the_edge() -> None:
    picture = torch.arange(12.0).view(1, 1, 3, 4)
    flow = torch.zeros(1, 2, 3, 4)
    flow[:, 0] = 1.0
    torch.testing.assert_close(warp(picture, flow)[0, 0, 0], torch.tensor([1.0, 2.0, 3.0, 3.0]))
    flow[:, 0], flow[:, 1] = 0.0, -0.5
    torch.testing.assert_close(warp(picture, flow)[0, 0, :, 0], torch.tensor([0.0, 2.0, 6.0]))


def test_half_precision_sums_flow_in_full() -> None:
    run = recorded()["4.25"]
    net = Rife(network("4.25").config, Layers(dtype=torch.bfloat16)).eval().requires_grad_(False)
    net.load_state_dict(network("4.25").state_dict())
    first, second = (frame.bfloat16() for frame in frames(2, run.size))
    clock = torch.full((2, 1, *run.size), 0.5, dtype=torch.bfloat16)
    motion = net.motion((first, second), (net.encoded(first), net.encoded(second)), clock)
    assert motion.flow.dtype == torch.float32
    assert (made_by(run) - net(first, second, torch.tensor(run.times)).float()).abs().mean() < 0.02


@pytest.mark.parametrize("prefix", ["", "module.", "flownet.", "model.module."])
def test_names_of_any_packing_are_understood(prefix: str) -> None:
    shapes = {f"{prefix}{name}": shape for name, shape in recorded()["4.25"].shapes.items()}
    shapes |= {f"{prefix}teacher.lastconv.weight": (1,), f"{prefix}caltime.conv.weight": (1,)}
    config = rife_config(shapes)
    assert config is not None and (config.layout.name, config.head_channels) == ("4.25", 4)
    numbered = {re.sub(r"block(\d)\.", r"blocks.\1.", name): shape for name, shape in shapes.items()}
    assert rife_config(numbered) == config


def test_unknown_layouts_list_the_known_ones() -> None:
    shapes = dict(recorded()["4.7"].shapes)
    assert rife_config({"conv.weight": (3, 3, 3, 3)}) is None
    three_blocks = {name: shape for name, shape in shapes.items() if not name.startswith("block3.")}
    other_encoder = {name.replace("encode.0", "encode.9"): shape for name, shape in shapes.items()}
    for changed, found in ((three_blocks, "3 blocks"), (other_encoder, "encoder of 1, 9")):
        with pytest.raises(UnsupportedModelError) as raised:
            rife_config(changed)
        for words in ("known layout", "4.7 to 4.9", "4.25", "Expected", found):
            assert words in str(raised.value)


def test_incomplete_files_are_told_by_their_tensors(tmp_path: Path) -> None:
    tensors = weights(recorded()["4.17 lite"].shapes)
    del tensors["block2.convblock.3.beta"]
    tensors["block9.extra"] = torch.zeros(1)
    tensors["encode.cnn1.bias"] = torch.zeros(5)
    save_file(tensors, tmp_path / "cut.safetensors")
    with pytest.raises(WeightsMismatchError) as raised:
        load_interpolator(tmp_path / "cut.safetensors")
    for words in ("blocks.2.convblock.3.beta", "left over: blocks.9.extra", "encode.cnn1.bias [5] instead of [16]"):
        assert words in str(raised.value)
