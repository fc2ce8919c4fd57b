"""Our own LoRA files: what goes in comes out, the same bytes every time, and whose model it was."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from svd_core import load_camera_lora, load_model, save_camera_lora
from svd_core.camera.lora import Calibration, CameraLora, LowRank
from svd_core.config import NANO, SVD
from svd_core.errors import InputError, UnsupportedModelError
from svd_core.unet import VideoUNet
from svd_core.weights import inspect
from svd_core.weights.fingerprint import base_fingerprint, same_base
from tests.checkpoints import DIFFUSERS, SGM, in_layout, random_networks, save_folder, save_single, sparse_file
from tests.loras import NAMINGS, lora_file, random_pairs, spelled, targets_of
from tests.models import SMALL
from tests.tiny import randomise_

CALIBRATION = Calibration(((-1.0, -7.5), (0.0, 0.0), (0.5, 4.25), (1.0, 9.1)), 8.0)


def _lora(**changes: object) -> CameraLora:
    targets = targets_of(NANO.unet, lambda name: ".time_stack." in name)
    pairs = random_pairs(targets, 3, seed=6)
    deltas = {
        name: LowRank(down.half() if index % 2 else down, up, (16.0, 1.0, 0.1)[index % 3] / 3)
        for index, (name, (down, up)) in enumerate(pairs.items())
    }
    given: dict[str, object] = {"preset": "pan_left", "base": "48x7-0123", "calibration": CALIBRATION}
    return CameraLora.of("left", deltas, **given | changes)  # type: ignore[arg-type]


def test_round_trip(tmp_path: Path) -> None:
    lora = _lora(metadata={"recipe": "two minutes"})
    save_camera_lora(lora, tmp_path / "left.safetensors", metadata={"modelspec.author": "me"})
    back = load_camera_lora(tmp_path / "left.safetensors", config=NANO.unet)
    assert set(back.deltas) == set(lora.deltas)
    for name, delta in lora.deltas.items():
        found = back.deltas[name]
        assert torch.equal(found.down, delta.down) and found.down.dtype == delta.down.dtype
        assert torch.equal(found.up, delta.up)
        assert found.scale == pytest.approx(delta.scale, rel=4e-16, abs=0)
    assert (back.name, back.preset, back.base, back.calibration) == ("left", "pan_left", "48x7-0123", CALIBRATION)
    assert (back.dialect, back.rank, back.matched, back.no_effect) == (
        "svd_studio", 3, lora.matched, lora.no_effect,
    )  # fmt: skip
    assert back.warnings == ()
    assert (back.metadata["recipe"], back.metadata["modelspec.author"]) == ("two minutes", "me")
    save_camera_lora(back, tmp_path / "again.safetensors")
    save_camera_lora(load_camera_lora(tmp_path / "again.safetensors"), tmp_path / "third.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == (tmp_path / "third.safetensors").read_bytes()


def test_standard_metadata_and_names(tmp_path: Path) -> None:
    lora = _lora()
    save_camera_lora(lora, tmp_path / "left.safetensors", dtype=torch.float16)
    with safe_open(str(tmp_path / "left.safetensors"), "pt") as file:
        metadata, names = file.metadata(), set(file.keys())
        dtypes = {file.get_tensor(name).dtype for name in names if not name.endswith(".alpha")}
    assert dtypes == {torch.float16}
    endings = ("lora_A.weight", "lora_B.weight", "alpha")
    assert names == {f"diffusion_model.{layer}.{end}" for layer in lora.deltas for end in endings}
    assert (metadata["ss_network_dim"], metadata["modelspec.title"]) == ("3", "pan left")
    assert metadata["modelspec.architecture"].endswith("/lora") and metadata["modelspec.sai_model_spec"] == "1.0.1"
    tags = json.loads(metadata["svd_studio.camera"])
    assert (tags["preset"], tags["base"], tags["calibration"]["fps"]) == ("pan_left", "48x7-0123", 8.0)
    facts = inspect(tmp_path / "left.safetensors")
    assert facts["calibration"] == {"points": [list(point) for point in CALIBRATION.points], "fps": 8.0}
    assert (facts["preset"], facts["base"], facts["dialect"]) == ("pan_left", "48x7-0123", "svd_studio")


def test_any_naming_becomes_ours(tmp_path: Path) -> None:
    """Loading and saving translates a file into one that hosts load."""
    targets = targets_of(SVD.unet, lambda name: "input_blocks.1.1." in name and ".to_" in name)
    pairs = random_pairs(targets, 2)
    for naming in NAMINGS:
        lora = load_camera_lora(lora_file(tmp_path / "x.safetensors", spelled(targets, pairs, naming, alpha=1.0)))
        save_camera_lora(lora, tmp_path / "ours.safetensors")
        back = load_camera_lora(tmp_path / "ours.safetensors")
        assert {name: delta.scale for name, delta in back.deltas.items()} == {
            name: delta.scale for name, delta in lora.deltas.items()
        }
        assert all(torch.equal(back.deltas[name].up, pairs[name][1]) for name in pairs)


def test_an_empty_lora_cannot_be_made() -> None:
    with pytest.raises(InputError, match="at least one delta"):
        CameraLora.of("nothing", {})


def test_nothing_is_left_of_a_failed_write(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="text to text"):
        save_camera_lora(_lora(), tmp_path / "x.safetensors", metadata={"a": 1})  # type: ignore[dict-item]
    with pytest.raises(InputError, match="a floating point dtype"):
        save_camera_lora(_lora(), tmp_path / "x.safetensors", dtype=torch.int32)
    assert not list(tmp_path.iterdir())


# fingerprints


@pytest.fixture(scope="module")
def nano() -> VideoUNet:
    return load_model("nano").unet


def test_the_embedded_model_has_one_fingerprint(nano: VideoUNet) -> None:
    """From the file and from the network, in single and half precision alike; after bfloat16 still recognised."""
    own = base_fingerprint("nano")
    assert own.startswith("48x7-") and len(own) == 5 + 36
    state = nano.state_dict()
    assert own == base_fingerprint(nano)
    assert own == base_fingerprint({name: tensor.float().half() for name, tensor in state.items()})
    assert own == base_fingerprint({f"diffusion_model.{name}": tensor.float() for name, tensor in state.items()})
    rough = base_fingerprint({name: tensor.bfloat16() for name, tensor in state.items()})
    assert same_base(own, rough) and same_base(own, own)


def test_layouts_and_dtypes_agree(tmp_path: Path) -> None:
    networks = random_networks(SMALL, 3)
    save_single(tmp_path / "sgm.safetensors", in_layout(networks, SMALL, SGM))
    halves = {part: {name: tensor.half() for name, tensor in state.items()} for part, state in networks.items()}
    save_folder(tmp_path / "folder", in_layout(halves, SMALL, DIFFUSERS), {})
    found = {
        base_fingerprint(tmp_path / "sgm.safetensors"),
        base_fingerprint(tmp_path / "folder"),
        base_fingerprint(networks["unet"]),
    }
    assert len(found) == 1


def test_other_weights_have_another(nano: VideoUNet) -> None:
    own, state = base_fingerprint(nano), nano.state_dict()
    generator = torch.Generator().manual_seed(2)

    def moved(part: float) -> dict[str, torch.Tensor]:
        """A finetune that moved every weight by that part of its layer's spread."""
        noise = {n: torch.randn(t.shape, generator=generator) * t.float().std() for n, t in state.items() if t.ndim > 1}
        return {name: state[name] + part * step for name, step in noise.items()}

    for part in (0.03, 0.1, 1.0):
        assert not same_base(own, base_fingerprint(moved(part))), part
    other = VideoUNet(NANO.unet)
    assert not same_base(own, base_fingerprint(dict(randomise_(other, 8).state_dict())))
    assert not same_base(own, None) and not same_base(None, None)
    assert not same_base(own, own.replace("48x7", "320x16")) and not same_base(own, "48x7-zzz")


def test_fingerprints_need_a_network(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="layers ending in"):
        base_fingerprint({"a": torch.zeros(3)})
    with pytest.raises(InputError, match="meta device"):
        base_fingerprint(VideoUNet(NANO.unet, device="meta"))
    with pytest.raises(UnsupportedModelError, match="a LoRA"):
        base_fingerprint(sparse_file(tmp_path / "x.safetensors", {"a.lora_down.weight": (4, 8)}))
