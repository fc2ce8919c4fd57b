"""The loop: to the bit through a resume, never past a loss that is no number."""

from __future__ import annotations

import dataclasses
import resource
from pathlib import Path

import pytest
import torch

from svd_core.config import ModelConfig
from svd_core.errors import FileFormatError, InputError, NumericsError, OutputError
from svd_core.training.checkpoints import FILE_NAME
from svd_core.training.export import export
from svd_core.training.loop import Report
from svd_core.training.nano_loop import Trainer
from svd_core.training.stages import STAGES, Stage
from svd_core.training.team import Member
from tests.training_toys import TOY, draw_few_worlds, toy_stages

_TINY = toy_stages(2)


@pytest.fixture(autouse=True)
def _small_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    draw_few_worlds(monkeypatch)


class _Stop(Exception):
    pass


def _trainer(
    folder: Path,
    *,
    save_seconds: float = 1e9,
    config: ModelConfig = TOY,
    seed: int = 5,
    stages: tuple[Stage, ...] = _TINY,
) -> Trainer:
    return Trainer(
        config=config, stages=stages, seed=seed, folder=folder, device=torch.device("cpu"), save_seconds=save_seconds
    )


def _weights(trainer: Trainer) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in trainer.networks.state_dict().items()}


def test_a_resumed_run_ends_in_the_same_bits(tmp_path: Path) -> None:
    whole = _trainer(tmp_path / "whole")
    whole.begin()
    reports: list[Report] = []
    whole.run(lambda _, report: reports.append(report))
    assert [(report.stage, report.step) for report in reports] == [(s.name, n) for s in _TINY for n in (1, 2)]

    # Killed in the middle of a stage, after every step was saved.
    killed = _trainer(tmp_path / "killed", save_seconds=0.0)
    killed.begin()

    def stop(trainer: Trainer, report: Report) -> None:
        if (report.stage, report.step) == ("camera", 2):
            raise _Stop

    with pytest.raises(_Stop):
        killed.run(stop)
    resumed = _trainer(tmp_path / "killed")
    resumed.resume()
    assert (_TINY[resumed.stage].name, resumed.step) == ("camera", 1)
    resumed.run(lambda *_: None)

    expected, found = _weights(whole), _weights(resumed)
    different = [name for name in expected if not torch.equal(expected[name], found[name])]
    assert not different, f"{len(different)} of {len(expected)} tensors differ, first {different[:3]}"
    assert not torch.equal(expected["unet.out.2.weight"], torch.zeros_like(expected["unet.out.2.weight"]))


def _stage(name: str, window: tuple[int, int]) -> Stage:
    return next(dataclasses.replace(stage, window=window) for stage in _TINY if stage.name == name)


@pytest.mark.parametrize(
    "stages",
    [
        (_stage("images", (4, 9)), _stage("short_video", (1, 2))),
        (_stage("autoencoder", (1, 2)), _stage("short_video", (1, 2))),
    ],
    ids=["a window further back", "a pool of another stage"],
)
def test_clips_follow_from_the_step_alone(tmp_path: Path, stages: tuple[Stage, ...]) -> None:
    """Whatever the stage before left in the pool: a run resumed in the next one has none of it."""
    whole = _trainer(tmp_path, stages=stages)
    whole.begin()

    def save(run: Trainer, report: Report) -> None:
        if (report.stage, report.step) == (stages[1].name, 1):
            run.save()
            # The end of the run writes no more.
            run.folder = tmp_path / "end"

    whole.run(save)
    resumed = _trainer(tmp_path, stages=stages)
    resumed.resume()
    assert (resumed.stage, resumed.step) == (1, 1)
    resumed.run(lambda *_: None)
    found = _weights(resumed)
    assert all(torch.equal(value, found[name]) for name, value in _weights(whole).items())


def test_a_run_of_an_older_version_is_refused_in_words(tmp_path: Path) -> None:
    trainer = _trainer(tmp_path)
    trainer.begin()
    trainer.save()
    state = torch.load(tmp_path / FILE_NAME, weights_only=True)
    for part, name in (("weights", "motion_head.0.weight"), ("average", "autoencoder.encoder.conv_in.weight")):
        older = {**state, part: {key: value for key, value in state[part].items() if key != name}}
        torch.save(older, tmp_path / FILE_NAME)
        with pytest.raises(InputError, match=rf"1 tensors that differ in .*{name}. Start in a new folder"):
            _trainer(tmp_path).resume()
    torch.save({**state, "basis": {}}, tmp_path / FILE_NAME)
    with pytest.raises(InputError, match="mean, synthesis"):
        _trainer(tmp_path).resume()


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
        _trainer(tmp_path, config=dataclasses.replace(TOY, name="other")).resume()
    with pytest.raises(InputError, match="seed 5"):
        _trainer(tmp_path, seed=6).resume()
    state = tmp_path / FILE_NAME
    whole = state.read_bytes()
    torch.save({"key": "a camera LoRA's"}, state)
    with pytest.raises(InputError, match="another kind"):
        _trainer(tmp_path).resume()
    state.write_bytes(whole[:1000])
    with pytest.raises(FileFormatError, match="training state"):
        _trainer(tmp_path).resume()


def test_a_gradient_that_is_no_number_stops_before_the_weights_are_spoilt(tmp_path: Path) -> None:
    trainer = _trainer(tmp_path)
    trainer.begin()
    name, parameter = next(iter(trainer.networks.named_parameters()))
    parameter.register_hook(lambda gradient: gradient * float("nan"))
    before = _weights(trainer)
    with pytest.raises(NumericsError, match="finite training gradient"):
        for _ in STAGES:
            trainer.run(lambda run, report: None)
    after = _weights(trainer)
    assert after[name].isfinite().all()
    assert before.keys() == after.keys()


@pytest.mark.parametrize(("spoilt", "told"), [(0, r"clips of chunks \("), (1, "the batch of process 2 of 2")])
def test_of_a_team_the_batch_is_named_that_was_no_number(tmp_path: Path, spoilt: int, told: str) -> None:
    rows = torch.zeros(2, 4_000_000)
    rows[1, 5] = float("nan") if spoilt else 0.0
    trainer = _trainer(tmp_path)
    # Nobody is there to be met: the other's row stays as it is.
    trainer.member = Member(0, 2, rows)
    trainer.begin()
    if not spoilt:
        for parameter in trainer.networks.parameters():
            parameter.data.view(-1)[0] = float("nan")
    with pytest.raises(NumericsError, match=rf"stage autoencoder at step 0, {told}[^;]*\. The last good state"):
        trainer.run(lambda *_: None)


def test_a_full_disk_is_told_and_keeps_the_state_before(tmp_path: Path) -> None:
    trainer = _trainer(tmp_path)
    trainer.begin()
    trainer.save()
    before = (tmp_path / FILE_NAME).read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, limits[1]))
    try:
        with pytest.raises(OutputError, match="room on the disk"):
            trainer.save()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert (tmp_path / FILE_NAME).read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == [FILE_NAME]
    _trainer(tmp_path).resume()


def test_a_finished_model_is_gone_on_from(tmp_path: Path) -> None:
    first = _trainer(tmp_path / "first")
    first.begin()
    first.run(lambda *_: None)
    model = tmp_path / "toy.safetensors"
    export(first.averaged(), model, {})
    later = tuple(stage for stage in _TINY if stage.name in ("camera", "video"))
    second = _trainer(tmp_path / "second", stages=later)
    second.begin(model)
    kept, found = _weights(first), _weights(second)
    # The file holds half precision.
    different = [
        name
        for name, value in found.items()
        if not name.startswith("motion_head.") and not torch.allclose(value, kept[name], rtol=1e-3, atol=1e-6)
    ]
    assert not different, f"{len(different)} of {len(kept)} tensors differ, first {different[:3]}"
    second.run(lambda *_: None)
    moved = [name for name, value in _weights(second).items() if not torch.equal(value, found[name])]
    assert moved and all(name.startswith(("unet.", "image_encoder.", "motion_head.")) for name in moved)

    with pytest.raises(InputError, match="networks of other"):
        other = dataclasses.replace(TOY, name="other", unet=dataclasses.replace(TOY.unet, channels=(16, 16)))
        _trainer(tmp_path / "third", config=other).begin(model)
    model.write_bytes(model.read_bytes()[:2000])
    with pytest.raises(FileFormatError):
        _trainer(tmp_path / "fourth").begin(model)


def test_a_run_in_a_stage_that_was_not_asked_for_is_refused(tmp_path: Path) -> None:
    trainer = _trainer(tmp_path)
    trainer.begin()
    trainer.save()
    other = _trainer(tmp_path, stages=_TINY[4:])
    with pytest.raises(InputError, match="found autoencoder"):
        other.resume()
