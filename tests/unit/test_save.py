from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from svd_core.config import ModelConfig
from svd_core.errors import InputError
from svd_core.weights import writer
from svd_core.weights.build import SvdModel, load_model
from svd_core.weights.inspection import inspect
from svd_core.weights.save import save_model
from tests.checkpoints import SGM, equal, in_layout, random_networks, save_single
from tests.models import SMALL, SMALL_ORBIT
from tests.tolerances import relative_max

NO_QUANT: ModelConfig = dataclasses.replace(
    SMALL, autoencoder=dataclasses.replace(SMALL.autoencoder, quant_conv=False, post_quant_conv=True)
)


def _model(tmp_path: Path, config: ModelConfig = SMALL) -> SvdModel:
    tensors = in_layout(random_networks(config), config, SGM)
    path = save_single(tmp_path / "source.safetensors", tensors, {"svd_studio.config": config.to_json()})
    return load_model(path)


@pytest.mark.parametrize("config", [SMALL, SMALL_ORBIT, NO_QUANT], ids=["svd", "sv3d", "no_quant"])
def test_round_trip_keeps_every_bit_and_the_config(tmp_path: Path, config: ModelConfig) -> None:
    model = _model(tmp_path, config)
    save_model(model, tmp_path / "saved.safetensors", {"recipe": "four steps"})
    again = load_model(tmp_path / "saved.safetensors")
    assert again.config == config
    assert again.report.unexpected == again.report.missing == ()
    for part in ("unet", "autoencoder", "image_encoder"):
        assert equal(getattr(again, part).state_dict(), getattr(model, part).state_dict()) == [], part
    with safe_open(tmp_path / "saved.safetensors", "pt") as file:
        assert file.metadata()["recipe"] == "four steps"


def test_the_same_model_gives_the_same_bytes(tmp_path: Path) -> None:
    model = _model(tmp_path)
    for name in ("a", "b"):
        save_model(model, tmp_path / f"{name}.safetensors", {"x": "1"})
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()


def test_half_precision_storage(tmp_path: Path) -> None:
    model = _model(tmp_path)
    save_model(model, tmp_path / "half.safetensors", dtype=torch.float16)
    facts = inspect(tmp_path / "half.safetensors")
    assert (facts["dtype"], facts["layout"]) == ("float16", "svd_studio")
    stored = load_file(tmp_path / "half.safetensors")
    for name, tensor in stored.items():
        assert tensor.dtype == (torch.float32 if name.endswith("mix_factor") else torch.float16), name
    again = load_model(tmp_path / "half.safetensors", dtype=torch.float32)
    assert (
        equal(
            again.unet.state_dict(),
            {n: t if n.endswith("mix_factor") else t.half().float() for n, t in model.unet.state_dict().items()},
        )
        == []
    )


def test_the_first_stage_encoder_has_quant_conv_folded_in(tmp_path: Path) -> None:
    """Programs that encode with the first stage, without `quant_conv`, must get the same moments."""
    model = _model(tmp_path)
    save_model(model, tmp_path / "saved.safetensors")
    host = load_model(tmp_path / "saved.safetensors", encoder="first_stage")
    assert host.autoencoder.quant_conv is None
    pixels = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.no_grad():
        error = relative_max(host.autoencoder.encode(pixels), model.autoencoder.encode(pixels))
    assert error < 1e-5, f"relative max error {error:.1e}, limit 1e-5"
    notes = load_model(tmp_path / "saved.safetensors").report.notes
    assert not any("two image encoders" in note for note in notes), "the two are one: nothing to tell the user"


def test_tensors_lie_aligned_and_nothing_is_left_beside_the_file(tmp_path: Path) -> None:
    model = _model(tmp_path)
    out = tmp_path / "out"
    save_model(model, out / "half.safetensors", dtype=torch.float16)
    assert [file.name for file in out.iterdir()] == ["half.safetensors"]
    from svd_core.weights.reader import read_header

    for info in read_header(out / "half.safetensors").tensors.values():
        assert info.start % (4 if info.dtype == "F32" else 2) == 0, info.name


def test_a_failed_save_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = _model(tmp_path)
    target = tmp_path / "out" / "saved.safetensors"
    save_model(model, target)
    before = target.read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(writer, "_write", full)
    with pytest.raises(Exception, match="full disk"):
        save_model(model, target)
    assert target.read_bytes() == before
    assert [file.name for file in target.parent.iterdir()] == ["saved.safetensors"]


def test_saving_over_the_file_a_model_is_mapped_from(tmp_path: Path) -> None:
    model = _model(tmp_path)
    before = {name: tensor.clone() for name, tensor in model.unet.state_dict().items()}
    save_model(model, tmp_path / "source.safetensors", dtype=torch.float16)
    assert equal(model.unet.state_dict(), before) == []


def test_metadata_must_be_text(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="text to text"):
        save_model(_model(tmp_path), tmp_path / "x.safetensors", {"score": 3})  # type: ignore[dict-item]
