"""Every naming, every place of alpha: all layers found, and the network changed exactly as by hand."""

from __future__ import annotations

import dataclasses
import json
import math
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest
import torch
from torch import Tensor

from svd_core import load_camera_lora
from svd_core.camera.adapter import attach
from svd_core.camera.lora import CameraLora
from svd_core.config import NANO, SVD, SVD_XT
from svd_core.unet import VideoUNet
from svd_core.weights import inspect
from tests.command_line import run_here
from tests.loras import NAMINGS, Target, lora_file, merged, random_pairs, spelled, svd_xt_attention, targets_of
from tests.models import SMALL
from tests.tiny import TINY_UNET, randomise_

RANK = 4
# SVD's own layout, narrow enough that double precision takes no time.
LITTLE = dataclasses.replace(TINY_UNET, channels=(16, 32, 32, 32), head_channels=16, context_dim=32, norm_groups=16)


@pytest.fixture(scope="module")
def attention() -> list[Target]:
    targets = svd_xt_attention()
    assert len(targets) == 256
    return targets


def assert_carries(lora: CameraLora, pairs: dict[str, tuple[Tensor, Tensor]], scale: float) -> None:
    """Exactly these layers, bit for bit, at this scale."""
    assert set(lora.deltas) == set(pairs)
    for name, (down, up) in pairs.items():
        delta = lora.deltas[name]
        assert torch.equal(delta.down, down) and torch.equal(delta.up, up), name
        assert delta.scale == pytest.approx(scale, rel=1e-12), name


@pytest.mark.parametrize("naming", NAMINGS)
def test_all_of_svd_xt_is_found(tmp_path: Path, attention: list[Target], naming: str) -> None:
    pairs = random_pairs(attention, rank=1, seed=1)
    path = lora_file(tmp_path / "x.safetensors", spelled(attention, pairs, naming, alpha=0.5))
    lora = load_camera_lora(path, config=SVD_XT.unet)
    has_alpha = NAMINGS[naming][1]("a", "a")[2] is not None
    assert_carries(lora, pairs, 0.5 if has_alpha else 1.0)
    assert (lora.matched, lora.total, lora.temporal, lora.no_effect) == (256, 256, 128, 64)
    assert (lora.dialect, lora.rank, lora.temporal_total) == (NAMINGS[naming][0], 1, 128)
    assert lora.alpha == (0.5 if has_alpha else None)
    assert has_alpha == (not lora.warnings), lora.warnings
    facts = inspect(path)
    expected = {"kind": "lora", "family": "svd", "matched": 256, "total": 256, "temporal": 128, "no_effect": 64}
    assert {key: facts[key] for key in expected} == expected
    assert facts["dialect"] == lora.dialect and facts["alpha"] == lora.alpha and facts["rank"] == 1


@pytest.fixture(scope="module")
def tiny() -> VideoUNet:
    unet = VideoUNet(LITTLE).double()
    randomise_(unet, 2)
    return unet.eval().requires_grad_(False)


def forward(unet: VideoUNet) -> Tensor:
    """Two frames of a small clip in double precision."""
    generator = torch.Generator().manual_seed(9)

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    config = unet.config
    x, context, vector = draw(2, config.in_channels, 8, 8), draw(1, 1, config.context_dim), draw(1, config.vector_dim)
    with torch.no_grad():
        return unet(x, torch.tensor([0.3], dtype=torch.float64), context, vector, 2)


def by_hand(unet: VideoUNet, pairs: dict[str, tuple[Tensor, Tensor]], scale: float) -> Tensor:
    """The output with W + scale * up @ down written into a copy of the weights."""
    state = {name: tensor.clone() for name, tensor in unet.state_dict().items()}
    for name, (down, up) in pairs.items():
        state[f"{name}.weight"] = merged(state[f"{name}.weight"], down, up, scale)
    changed = VideoUNet(unet.config).double().eval()
    changed.load_state_dict(state)
    return forward(changed)


@pytest.fixture(scope="module")
def expected(tiny: VideoUNet) -> Iterator[Callable[[float], Tensor]]:
    """The output by hand at a scale, each computed once."""
    pairs = random_pairs(targets_of(LITTLE), RANK, seed=3)
    yield cache(lambda scale: by_hand(tiny, pairs, scale))


@pytest.mark.parametrize("naming", NAMINGS)
def test_the_forward_pass_changes_as_by_hand(
    tmp_path: Path, tiny: VideoUNet, expected: Callable[[float], Tensor], naming: str
) -> None:
    targets = targets_of(LITTLE)
    alpha = 3.0 if NAMINGS[naming][1]("a", "a")[2] else None
    tensors = spelled(targets, random_pairs(targets, RANK, seed=3), naming, alpha)
    lora = load_camera_lora(lora_file(tmp_path / "x.safetensors", tensors))
    adapter = attach(tiny, [(lora, 0.7)])
    after = forward(tiny)
    adapter.detach()
    wanted, plain = expected(0.7 * (1.0 if alpha is None else alpha / RANK)), expected(0.0)
    size = float(wanted.abs().max())
    assert float((wanted - plain).abs().max()) > 1e-2 * size, "the LoRA does nothing"
    assert float((after - wanted).abs().max()) < 1e-6 * size


def test_convolutions_and_feed_forwards(tmp_path: Path, tiny: VideoUNet) -> None:
    """Every layer of the network at once, in two namings."""
    targets = targets_of(LITTLE, lambda name: True)
    pairs = random_pairs(targets, 2, seed=4)
    expected = by_hand(tiny, pairs, 0.05)
    for naming in ("kohya, original", "peft"):
        tensors = spelled(targets, pairs, naming, alpha=2.0)
        lora = load_camera_lora(lora_file(tmp_path / f"{naming[:4]}.safetensors", tensors), config=LITTLE)
        assert lora.matched == len(targets) == 573
        adapter = attach(tiny, [(lora, 0.05)])
        after = forward(tiny)
        adapter.detach()
        assert float((after - expected).abs().max()) < 1e-6 * float(expected.abs().max())


def test_kernels_of_one_may_be_there_or_not(tmp_path: Path) -> None:
    """kohya's tools write linear layers as 1x1 convolutions, and 1x1 convolutions as matrices."""
    wanted = ("input_blocks.4.0.skip_connection.weight", "input_blocks.4.1.time_stack.0.attn1.to_q.weight")
    targets = targets_of(SVD.unet, lambda name: name in wanted)
    pairs = random_pairs(targets, 2)
    linear, point = sorted(pairs, key=lambda name: pairs[name][0].ndim)
    odd = {
        linear: tuple(half[..., None, None] for half in pairs[linear]),
        point: tuple(half[..., 0, 0] for half in pairs[point]),
    }
    lora = load_camera_lora(lora_file(tmp_path / "x.safetensors", spelled(targets, odd, "kohya, original")))
    assert_carries(lora, pairs, 1.0)


def test_mixed_dtypes_are_kept(tmp_path: Path) -> None:
    targets = targets_of(NANO.unet)[:4]
    pairs = random_pairs(targets)
    dtypes = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
    mixed = {
        name: (down.to(dtype), up.to(other))
        for (name, (down, up)), dtype, other in zip(pairs.items(), dtypes, dtypes[1:] + dtypes[:1], strict=True)
    }
    tensors = spelled(targets, mixed, "generic A B")
    for index, dtype in enumerate((torch.float16, torch.bfloat16, torch.int64, torch.float64)):
        tensors[f"diffusion_model.{targets[index].name}.alpha"] = torch.tensor(index + 1, dtype=dtype)
    lora = load_camera_lora(lora_file(tmp_path / "x.safetensors", tensors), config=NANO.unet)
    for index, target in enumerate(targets):
        delta = lora.deltas[target.name]
        assert (delta.down.dtype, delta.up.dtype) == (mixed[target.name][0].dtype, mixed[target.name][1].dtype)
        assert delta.scale == (index + 1) / 2


# alpha


def _four(tmp_path: Path, metadata: dict[str, str] | None = None, name: str = "x.safetensors") -> Path:
    targets = targets_of(NANO.unet, lambda name: "middle_block.1.time_stack.0.attn1" in name)
    assert len(targets) == 4
    pairs = random_pairs(targets, RANK)
    return lora_file(tmp_path / name, spelled(targets, pairs, "peft"), metadata)


def _scales(lora: CameraLora) -> dict[str, float]:
    return {name.rpartition("attn1.")[2]: delta.scale for name, delta in lora.deltas.items()}


@pytest.mark.parametrize(
    ("metadata", "scale"),
    [
        ({"ss_network_alpha": "2"}, 0.5),
        ({"ss_network_alpha": "None", "lora_alpha": "6.0"}, 1.5),
        ({"ss_network_alpha": "0"}, None),
        ({"lora_adapter_metadata": json.dumps({"unet.r": 4, "unet.lora_alpha": 8})}, 2.0),
        ({"lora_adapter_metadata": json.dumps({"r": 4, "lora_alpha": 8, "use_rslora": True})}, 4.0),
        ({"lora_adapter_metadata": "no json"}, None),
        ({}, None),
    ],
    ids=str,
)
def test_alpha_from_metadata(tmp_path: Path, metadata: dict[str, str], scale: float | None) -> None:
    lora = load_camera_lora(_four(tmp_path, metadata))
    assert set(_scales(lora).values()) == {scale or 1.0}
    assert (scale is None) == any("no alpha" in text and "scale 1" in text for text in lora.warnings)


CONFIG = {"r": RANK, "lora_alpha": 8, "use_rslora": False, "peft_type": "LORA"}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, {"to_q": 2, "to_k": 2, "to_v": 2, "to_out.0": 2}),
        ({"use_rslora": True}, {"to_q": 4, "to_k": 4, "to_v": 4, "to_out.0": 4}),
        ({"alpha_pattern": {"to_q": 2, "attn1.to_v": 1}}, {"to_q": 0.5, "to_k": 2, "to_v": 0.25, "to_out.0": 2}),
        ({"alpha_pattern": {r".*attn1\.to_[qk]": 2}}, {"to_q": 0.5, "to_k": 0.5, "to_v": 2, "to_out.0": 2}),
        # Such a pattern could keep a matcher busy for ever: it counts as plain text, which fits nothing.
        ({"alpha_pattern": {"(.*)*x": 2, "[": 3}}, {"to_q": 2, "to_k": 2, "to_v": 2, "to_out.0": 2}),
        ({"lora_alpha": True}, {"to_q": 1, "to_k": 1, "to_v": 1, "to_out.0": 1}),
    ],
    ids=str,
)
def test_alpha_from_adapter_config(tmp_path: Path, changes: dict[str, object], expected: dict[str, float]) -> None:
    _four(tmp_path, name="adapter_model.safetensors")
    (tmp_path / "adapter_config.json").write_text(json.dumps(CONFIG | changes))
    lora = load_camera_lora(tmp_path)
    assert _scales(lora) == pytest.approx(expected)
    assert lora.name == tmp_path.name
    assert inspect(tmp_path)["alpha"] == lora.alpha


def test_ranks_of_single_layers(tmp_path: Path) -> None:
    """`rank_pattern` gives layers other ranks; the scale follows each layer's own."""
    targets = targets_of(NANO.unet, lambda name: "middle_block.1.time_stack.0.attn1" in name)
    pairs = random_pairs(targets, RANK) | random_pairs([t for t in targets if t.name.endswith("to_q")], 2)
    lora_file(tmp_path / "adapter_model.safetensors", spelled(targets, pairs, "peft"))
    config = CONFIG | {"rank_pattern": {"to_q": 2}, "use_rslora": True}
    (tmp_path / "adapter_config.json").write_text(json.dumps(config))
    scales = _scales(load_camera_lora(tmp_path))
    assert scales == pytest.approx({"to_q": 8 / math.sqrt(2), "to_k": 4, "to_v": 4, "to_out.0": 4})


def test_whose_adapter_config_it_is(tmp_path: Path) -> None:
    """Among many files it is nobody's; with other ranks it is another file's, and both is said."""
    path = _four(tmp_path, name="pan.safetensors")
    (tmp_path / "adapter_config.json").write_text(json.dumps(CONFIG))
    assert set(_scales(load_camera_lora(path)).values()) == {2.0}
    _four(tmp_path, name="tilt.safetensors")
    lora = load_camera_lora(path)
    assert set(_scales(lora).values()) == {1.0} and any("no alpha" in text for text in lora.warnings)
    named = _four(tmp_path / "other", name="adapter_model.safetensors")
    (tmp_path / "other" / "adapter_config.json").write_text(json.dumps(CONFIG | {"r": 16}))
    lora = load_camera_lora(named)
    assert set(_scales(lora).values()) == {1.0}
    assert any("rank 16" in text and "ignored" in text for text in lora.warnings)


# which network


@pytest.mark.parametrize("config", [NANO, SMALL], ids=lambda config: config.name)
@pytest.mark.parametrize("naming", ["kohya, original", "diffusers", "processor"])
def test_other_layouts_are_found_without_a_config(tmp_path: Path, config: object, naming: str) -> None:
    """The embedded model numbers its blocks otherwise, and another network may have its layout at other widths."""
    unet = config.unet  # type: ignore[attr-defined]
    targets = targets_of(unet, lambda name: ".time_stack." in name and ".to_" in name)
    pairs = random_pairs(targets)
    lora = load_camera_lora(lora_file(tmp_path / "x.safetensors", spelled(targets, pairs, naming, alpha=2.0)))
    assert_carries(lora, pairs, 1.0)
    assert (lora.matched, lora.temporal, lora.temporal_total) == (len(targets), len(targets), len(targets))
    assert any("sizes are not" in text for text in lora.warnings) == (unet != NANO.unet)


def test_a_part_that_is_not_there_is_a_warning(tmp_path: Path) -> None:
    targets = targets_of(SVD.unet, lambda name: "input_blocks.1.1.time_stack" in name and ".to_" in name)
    pairs = random_pairs(targets)
    tensors = spelled(targets, pairs, "kohya, original", alpha=2.0)
    strangers = [dataclasses.replace(target, name=target.name.replace("time_stack", "warp")) for target in targets[:3]]
    tensors |= spelled(strangers, random_pairs(strangers), "kohya, original")
    tensors["notes.weight"] = torch.zeros(3)
    path = lora_file(tmp_path / "x.safetensors", tensors)
    lora = load_camera_lora(path)
    assert_carries(lora, pairs, 1.0)
    assert (lora.matched, lora.total) == (8, 11)
    assert any("8 of 11" in text and "warp" in text for text in lora.warnings)
    assert any("notes.weight" in text for text in lora.warnings)
    assert "8 of 11" in lora.summary() and "8 of 128" in lora.summary() and "warning: " in lora.summary()
    assert inspect(path)["warnings"] == list(lora.warnings)


def test_a_lora_without_time_is_loaded_and_says_so(tmp_path: Path) -> None:
    targets = targets_of(SVD.unet, lambda name: ".transformer_blocks." in name and ".to_" in name)[:8]
    lora = load_camera_lora(
        lora_file(tmp_path / "x.safetensors", spelled(targets, random_pairs(targets), "generic A B", alpha=1.0))
    )
    assert lora.temporal == 0 and any("along time" in text for text in lora.warnings)


def test_inspecting_a_lora_imports_no_torch(tmp_path: Path) -> None:
    path = _four(tmp_path)
    code = f"import sys\nfrom svd_core.weights import inspect\nassert inspect({str(path)!r})['matched'] == 4\n"
    done = subprocess.run(
        [sys.executable, "-c", code + "sys.exit('torch' in sys.modules)"],
        cwd=Path(__file__).resolve().parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr or "torch was imported"


def test_the_command_line_says_all_of_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = _four(tmp_path)
    shown = [line.split(None, 1) for line in run_here(capsys, "inspect", path).out.splitlines()]
    facts = {words[0]: words[1] for words in shown if words}
    expected = {"kind": "lora", "family": "svd", "dialect": "peft", "rank": "4", "alpha": "none", "matched": "4"}
    assert {name: facts[name] for name in expected} == expected
    assert facts["temporal_total"] == "56" and "no alpha" in facts["warning"]
    report = json.loads(run_here(capsys, "inspect", path, "--json").out)
    assert {"dialect", "rank", "alpha", "matched", "total", "temporal", "no_effect"} <= set(report)
