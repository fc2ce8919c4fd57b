"""The whole recipe on a toy: options, file, log, sheets, resume."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from svd_core import load_model
from svd_core.errors import FileFormatError, InputError
from svd_core.training import nano as nano_module
from svd_core.training import stages as stages_module
from svd_core.training.nano import TrainOptions, train_nano
from svd_core.training.nano_loop import Trainer
from svd_core.training.stages import STAGES
from tests.command_line import assert_refused, run_here
from tests.training_toys import TOY, draw_few_worlds, toy_stages

_SHORT = toy_stages(1)


@pytest.fixture(autouse=True)
def _toy_recipe(monkeypatch: pytest.MonkeyPatch) -> None:
    draw_few_worlds(monkeypatch)
    for module in (nano_module, stages_module):
        monkeypatch.setattr(module, "STAGES", _SHORT)


def _options(folder: Path, **changes: object) -> TrainOptions:
    settings = {"out": folder, "steps": len(STAGES), "config": TOY, "scored_clips": 2} | changes
    return TrainOptions(**settings)  # type: ignore[arg-type]


def test_a_run_leaves_a_model_a_log_and_sheets(tmp_path: Path) -> None:
    seen: list[str] = []
    result = train_nano(_options(tmp_path), lambda report: seen.append(report.stage))
    assert seen == [stage.name for stage in STAGES]
    model = load_model(result.model, dtype=torch.float32)
    assert model.config == TOY
    assert json.loads((tmp_path / "scores.json").read_text())["scores"]["clips"] == 2
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["stage"] for line in lines] == seen
    assert len(list((tmp_path / "sheets").glob("*.png"))) == len(STAGES) + 1
    for index, stage in enumerate(STAGES):
        assert json.loads((tmp_path / "sheets" / f"{index}_{stage.name}.json").read_text())["clips"] == 2

    first = result.model.read_bytes()
    again = train_nano(_options(tmp_path, resume=True, steps=None))
    assert again.model.read_bytes() == first, "a finished run resumed must write the same file"


def test_a_long_stage_leaves_milestones_inside_that_change_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = 3 * len(STAGES)
    silent = load_file(train_nano(_options(tmp_path / "silent", steps=steps)).model)
    assert len(list((tmp_path / "silent" / "sheets").glob("*.json"))) == len(STAGES)
    monkeypatch.setattr(nano_module, "_MILESTONE_SECONDS", 0.0)
    told = load_file(train_nano(_options(tmp_path / "told", steps=steps)).model)
    for index, stage in enumerate(STAGES):
        inside = json.loads((tmp_path / "told" / "sheets" / f"{index}_{stage.name}_00002.json").read_text())
        assert inside["clips"] == 2
    # Not the bytes: the recipe beside them tells the seconds.
    assert told.keys() == silent.keys()
    assert all(torch.equal(told[name], silent[name]) for name in silent), "looking at a run must not change it"


def test_minutes_become_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Trainer, "seconds_per_step", lambda *_: 1.0)
    whole = sum(stage.steps * nano_module._RELATIVE_COST[stage.name] for stage in _SHORT)
    steps = nano_module._steps_for(_options(tmp_path), _SHORT, whole / 2)
    assert steps == len(_SHORT), "never fewer than one a stage"
    assert nano_module._steps_for(_options(tmp_path), _SHORT, 10 * whole) == 10 * len(_SHORT)
    shared = _options(tmp_path, steps=None, minutes=10 * whole / 60, workers=2)
    assert sum(stage.steps for stage in nano_module._plan(shared)) == 5 * len(_SHORT), "the minutes of both together"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"steps": 1}, "at least 7 training steps"),
        ({"stages": ("camera", "video")}, "--from FILE with --stages"),
        ({"stages": ("films",)}, "autoencoder"),
        ({"source": Path("nowhere.safetensors")}, "nowhere"),
        ({"source": Path(__file__), "resume": True}, "--resume or --from"),
        ({"source": Path(__file__), "stages": ("video",), "steps": 1}, "safetensors"),
        ({"workers": 65}, "--workers 1 to 64"),
        ({"workers": 2, "device": "cuda"}, "--workers on a CPU"),
        ({"photographs": Path("nowhere")}, "no folder .*nowhere"),
    ],
)
def test_bad_options_are_refused(tmp_path: Path, changes: dict[str, object], words: str) -> None:
    with pytest.raises((InputError, FileFormatError), match=words):
        train_nano(_options(tmp_path, **changes))


def test_a_finished_file_trained_on_names_where_it_came_from(tmp_path: Path) -> None:
    first = train_nano(_options(tmp_path / "first"))
    stages = ("camera", "video")
    options = _options(tmp_path / "second", source=first.model, stages=stages, steps=2)
    with pytest.raises(RuntimeError, match="power cut"):
        train_nano(options, _cut)
    again = train_nano(_options(tmp_path / "second", resume=True, steps=None))
    recipe = json.loads((tmp_path / "second" / "scores.json").read_text())["recipe"]
    assert list(recipe["stages"]) == list(stages)
    assert recipe["from"] == {"file": first.model.name, "sha256": hashlib.sha256(first.model.read_bytes()).hexdigest()}
    assert load_model(again.model, dtype=torch.float32).config == TOY


def test_a_resumed_run_keeps_its_plan_but_for_what_is_given_anew(tmp_path: Path) -> None:
    photographs, moved, others = (tmp_path / name for name in ("photographs", "moved", "others"))
    for folder, seed in ((photographs, 0), (others, 9)):
        folder.mkdir()
        for index in range(2):
            Image.effect_noise((40, 40), 20.0 + seed + index).convert("RGB").save(folder / f"{index}.png")
    first = train_nano(_options(tmp_path / "first"))
    run, stages = tmp_path / "run", ("camera", "video")
    begun = _options(run, source=first.model, stages=stages, steps=2, photographs=photographs)
    with pytest.raises(RuntimeError, match="power cut"):
        train_nano(begun, _cut)
    plan = json.loads((run / "plan.json").read_text())
    assert plan["stages"] == list(stages) and Path(plan["photographs"]).is_absolute()

    for changes in ({"photographs": others}, {"seed": 1}, {"stages": ("camera",)}):
        with pytest.raises(InputError):
            train_nano(_options(run, resume=True, steps=9, **changes))
        assert json.loads((run / "plan.json").read_text()) == plan, "what is refused changes nothing"
    photographs.rename(moved)
    with pytest.raises(InputError, match=r"no folder .*photographs"):
        train_nano(_options(run, resume=True, steps=None))
    train_nano(_options(run, resume=True, steps=4, photographs=moved))
    again = json.loads((run / "plan.json").read_text())
    assert again == plan | {"steps": 4, "photographs": str(moved)}

    (run / "plan.json").write_text('{"steps": 4, "workers": "many"}')
    with pytest.raises(FileFormatError, match="Delete it"):
        train_nano(_options(run, resume=True, steps=4))


@pytest.mark.parametrize("what", ["nano", "interpolator", "refiner"])
@pytest.mark.parametrize("option", ["--preset pan_left", "--rank 4", "--early-stop", "--dtype bf16"])
def test_what_only_camera_listens_to_is_not_passed_over(
    capsys: pytest.CaptureFixture[str], what: str, option: str
) -> None:
    assert_refused(
        run_here(capsys, "train", what, *option.split()), "svd train camera", f"Leave {option.split()[0]} out"
    )


@pytest.mark.parametrize("what", ["nano", "refiner", "all"])
def test_a_model_is_asked_for_where_one_is_used(capsys: pytest.CaptureFixture[str], what: str) -> None:
    assert_refused(run_here(capsys, "train", what, "--model", "a.safetensors"), "--model with `svd train camera`")


@pytest.mark.parametrize("what", ["camera", "interpolator", "refiner"])
@pytest.mark.parametrize("option", ["--workers 2", "--photographs installed", "--from a.safetensors", "--stages video"])
def test_what_only_nano_listens_to_is_not_passed_over(
    capsys: pytest.CaptureFixture[str], what: str, option: str
) -> None:
    assert_refused(run_here(capsys, "train", what, *option.split()), "svd train nano", f"Leave {option.split()[0]} out")


def _cut(report: object) -> None:
    if getattr(report, "stage", "") == "video":
        raise RuntimeError("power cut")
