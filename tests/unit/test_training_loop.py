"""The loop: to the bit through a resume, never past a loss that is no number."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from svd_core.config import NANO, ModelConfig
from svd_core.errors import FileFormatError, InputError, NumericsError
from svd_core.training import loop as loop_module
from svd_core.training.checkpoints import FILE_NAME
from svd_core.training.loop import Report, Trainer
from svd_core.training.stages import STAGES, Stage

_CONFIG: ModelConfig = dataclasses.replace(
    NANO,
    unet=dataclasses.replace(NANO.unet, channels=(16, 32), head_channels=16, norm_groups=4),
    autoencoder=dataclasses.replace(NANO.autoencoder, channels=(8, 8, 16, 16), norm_groups=4),
    image_encoder=dataclasses.replace(NANO.image_encoder, image_size=32, width=32, heads=2, mlp_width=32, layers=1),
    sampling=dataclasses.replace(NANO.sampling, frames=4, width=32, height=32),
)
_TINY: tuple[Stage, ...] = tuple(
    dataclasses.replace(stage, steps=2, batch=2, refresh=1, window=(1, 2), frames=stage.frames and 3)
    for stage in STAGES
)


@pytest.fixture(autouse=True)
def _small_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop_module, "_CHUNK", 2)
    monkeypatch.setattr(loop_module, "_BASIS_CLIPS", 4)


class _Stop(Exception):
    pass


def _trainer(folder: Path, *, save_seconds: float = 1e9, config: ModelConfig = _CONFIG, seed: int = 5) -> Trainer:
    return Trainer(
        config=config, stages=_TINY, seed=seed, folder=folder, device=torch.device("cpu"), save_seconds=save_seconds
    )


def _weights(trainer: Trainer) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in trainer.networks.state_dict().items()}


def test_a_resumed_run_ends_in_the_same_bits(tmp_path: Path) -> None:
    whole = _trainer(tmp_path / "whole")
    whole.begin()
    reports: list[Report] = []
    whole.run(lambda _, report: reports.append(report))
    assert [(report.stage, report.step) for report in reports] == [(s.name, n) for s in _TINY for n in (1, 2)]

    # Killed in the middle of the third stage, after every step was saved.
    killed = _trainer(tmp_path / "killed", save_seconds=0.0)
    killed.begin()

    def stop(trainer: Trainer, report: Report) -> None:
        if (report.stage, report.step) == ("short_video", 2):
            raise _Stop

    with pytest.raises(_Stop):
        killed.run(stop)
    resumed = _trainer(tmp_path / "killed")
    resumed.resume()
    assert (resumed.stage, resumed.step) == (3, 1)
    resumed.run(lambda *_: None)

    expected, found = _weights(whole), _weights(resumed)
    different = [name for name in expected if not torch.equal(expected[name], found[name])]
    assert not different, f"{len(different)} of {len(expected)} tensors differ, first {different[:3]}"
    assert not torch.equal(expected["unet.out.2.weight"], torch.zeros_like(expected["unet.out.2.weight"]))


def test_a_finished_run_resumes_to_itself(tmp_path: Path) -> None:
    trainer = _trainer(tmp_path)
    trainer.begin()
    trainer.run(lambda *_: None)
    expected = _weights(trainer)
    again = _trainer(tmp_path)
    again.resume()
    again.run(lambda *_: pytest.fail("nothing is left to do"))
    assert all(torch.equal(value, expected[name]) for name, value in _weights(again).items())


def test_nan_stops_and_keeps_the_last_good_state(tmp_path: Path) -> None:
    trainer = _trainer(tmp_path, save_seconds=0.0)
    trainer.begin()

    def poison(run: Trainer, report: Report) -> None:
        if (report.stage, report.step) == ("images", 1):
            run.save()
            run.networks.unet.out[2].bias.data[0] = float("nan")
            run.save_seconds = 1e9

    with pytest.raises(NumericsError, match=r"stage images at step 1, clips of chunks \("):
        trainer.run(poison)
    resumed = _trainer(tmp_path)
    resumed.resume()
    assert (_TINY[resumed.stage].name, resumed.step) == ("images", 1)
    assert all(value.isfinite().all() for value in resumed.networks.state_dict().values())


def test_refusals(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="run to resume"):
        _trainer(tmp_path).resume()
    trainer = _trainer(tmp_path)
    trainer.begin()
    trainer.save()
    with pytest.raises(InputError, match="another config"):
        _trainer(tmp_path, config=dataclasses.replace(_CONFIG, name="other")).resume()
    with pytest.raises(InputError, match="seed 5"):
        _trainer(tmp_path, seed=6).resume()
    state = tmp_path / FILE_NAME
    state.write_bytes(state.read_bytes()[:1000])
    with pytest.raises(FileFormatError, match="training state"):
        _trainer(tmp_path).resume()
