"""Camera training on a small model with random weights: files, resuming to the bit, stopping, refusing."""

from __future__ import annotations

import dataclasses
import itertools
import json
import resource
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partialmethod
from pathlib import Path
from typing import Any, cast

import pytest
import torch

from svd_core.camera.adapter import attach
from svd_core.camera.lora import Calibration
from svd_core.camera.presets import find_preset
from svd_core.config import NANO, SVD
from svd_core.errors import Cancelled, FileFormatError, InputError, NumericsError, OutputError, UnsupportedModelError
from svd_core.training import camera as camera_module
from svd_core.training import camera_loop, camera_shipped
from svd_core.training.camera import CameraTrainOptions, begun, train_camera
from svd_core.training.camera_clips import ClipSize
from svd_core.training.camera_layers import chosen_layers, fresh_deltas, turned
from svd_core.training.camera_loop import STATE_NAME
from svd_core.training.camera_moves import target_of
from svd_core.training.camera_recipe import BATCH, BUCKETS, RANK, TRIALS, law_for, steps_for
from svd_core.training.camera_shipped import passes, train_shipped
from svd_core.training.camera_sources import SourceChoice
from svd_core.training.camera_trials import COLUMNS, Readings
from svd_core.training.diffusion import TrainingClips, diffusion_loss
from svd_core.training.photos import PhotoSource
from svd_core.training.run_options import PLAN_NAME
from svd_core.video_io import encode_rgb
from svd_core.weights.build import SvdModel, load_model
from svd_core.weights.camera_files import SHIPPED
from svd_core.weights.fingerprint import base_fingerprint
from svd_core.weights.lora import load_camera_lora
from tests.command_line import small_checkpoint
from tests.unit.test_training_camera_sources import photos

Options = CameraTrainOptions


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_checkpoint(tmp_path_factory.mktemp("small"))


@pytest.fixture
def model(checkpoint: Path) -> Iterator[SvdModel]:
    loaded = load_model(checkpoint, dtype=torch.float32)
    before = [parameter.clone() for parameter in loaded.unet.parameters()]
    yield loaded
    assert all(torch.equal(a, b) for a, b in zip(before, loaded.unet.parameters(), strict=True)), "the base changed"
    assert not any("forward" in module.__dict__ for module in loaded.unet.modules()), "an override was left behind"


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from PIL import Image

    folder = tmp_path_factory.mktemp("photos")
    for index, picture in enumerate(photos(9, 120, 90)):
        Image.fromarray(encode_rgb(picture.permute(1, 2, 0).float() / 255)).save(folder / f"{index}.png")
    return folder


def options(folder: Path, pictures: Path, **changes: Any) -> Options:
    source = SourceChoice(images=pictures, clips_drawn=4, per_group=2)
    settings = {
        "steps": 4,
        "rank": 2,
        "trials": 1,
        "size": (32, 32),
        "frames": 3,
        "batch": 2,
        "source": source,
    } | changes
    return Options(
        out=folder, preset=changes.get("preset", "pan_left"), **{k: v for k, v in settings.items() if k != "preset"}
    )


def test_a_run_leaves_a_lora_that_says_what_it_is(tmp_path: Path, pictures: Path, model: SvdModel) -> None:
    told: list[str] = []
    result = train_camera(options(tmp_path, pictures), lambda what, *_: told.append(what), model=model)
    assert list(dict.fromkeys(told)) == ["encoding", "training", "measuring"]
    lora = load_camera_lora(result.lora, config=model.config.unet)
    assert lora.preset == "pan_left" and lora.base == base_fingerprint(model.unet)
    assert lora.matched == lora.total == len(chosen_layers(model.unet, ("attention", "feed-forward")))
    assert lora.calibration is not None and lora.calibration.fps == 8
    assert [point[0] for point in lora.calibration.points] == [-1.5, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5]
    told_inside = json.loads(lora.metadata["svd_studio.training"])
    assert told_inside["source"] == "photos" and told_inside["steps"] == 4 and len(told_inside["measured"]) == 7
    assert any(float(delta.up.abs().max()) > 0 for delta in lora.deltas.values()), "nothing was learnt"
    assert result.preview.is_file() and (tmp_path / "pan_left.json").is_file()
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert lines[-1]["step"] == 4 and lines[-1]["loss"] > 0


def test_interrupted_and_resumed_gives_the_same_file(tmp_path: Path, pictures: Path, model: SvdModel) -> None:
    whole = train_camera(options(tmp_path / "whole", pictures), model=model).lora.read_bytes()

    def stop(what: str, done: int, total: int, loss: float | None) -> None:
        if what == "training" and done == 2:
            raise Cancelled("enough")

    cut = options(tmp_path / "cut", pictures)
    with pytest.raises(Cancelled):
        train_camera(cut, stop, model=model)
    assert torch.load(tmp_path / "cut" / STATE_NAME, weights_only=True)["step"] == 2
    with pytest.raises(InputError, match="--resume"):
        train_camera(cut, model=model)
    resumed = train_camera(dataclasses.replace(cut, resume=True), model=model)
    assert resumed.lora.read_bytes() == whole
    other = dataclasses.replace(cut, resume=True, learning_rate=1e-3)
    with pytest.raises(InputError, match="these settings"):
        train_camera(other, model=model)
    (tmp_path / "cut" / STATE_NAME).write_bytes(b"rubbish")
    with pytest.raises(FileFormatError, match="training state"):
        train_camera(dataclasses.replace(cut, resume=True), model=model)


def test_minutes_become_steps_and_a_resumed_run_keeps_them(
    tmp_path: Path, pictures: Path, model: SvdModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(camera_module.CameraTrainer, "seconds_per_step", lambda *_: 20.0)
    timed = options(tmp_path, pictures, steps=None, minutes=1.0)
    assert train_camera(timed, model=model).steps == 3
    monkeypatch.setattr(camera_module.CameraTrainer, "seconds_per_step", lambda *_: 1.0)
    assert train_camera(dataclasses.replace(timed, resume=True), model=model).steps == 3


def _spoil(monkeypatch: pytest.MonkeyPatch, call: int, how: Callable[[torch.Tensor], torch.Tensor]) -> None:
    """Let `how` change the loss of one call."""
    real, calls = camera_loop.diffusion_loss, itertools.count(1)

    def spoilt(*given: Any) -> torch.Tensor:
        loss = real(*given)
        return how(loss) if next(calls) == call else loss

    monkeypatch.setattr(camera_loop, "diffusion_loss", spoilt)


def test_a_loss_that_is_no_number_stops_the_run_and_keeps_its_state(
    tmp_path: Path, pictures: Path, model: SvdModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    _spoil(monkeypatch, 3, lambda loss: loss * float("nan"))
    with pytest.raises(NumericsError, match="step 2"):
        train_camera(options(tmp_path, pictures), model=model)


def test_a_gradient_that_is_no_number_spoils_nothing(
    tmp_path: Path, pictures: Path, model: SvdModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A finite loss may have an infinite gradient in half precision: nothing of it may be kept, or shipped."""

    def infinite_gradient(loss: torch.Tensor) -> torch.Tensor:
        loss.register_hook(lambda gradient: gradient * float("inf"))
        return loss

    _spoil(monkeypatch, 4, infinite_gradient)
    with pytest.raises(NumericsError, match=r"a finite training gradient; found .* at step 3, clips of group \d"):
        train_camera(options(tmp_path, pictures), model=model)
    assert not (tmp_path / "pan_left.safetensors").exists()


def test_what_another_run_or_a_crash_left_is_refused_in_words(tmp_path: Path, pictures: Path, model: SvdModel) -> None:
    torch.save({"config": "an embedded model's"}, tmp_path / STATE_NAME)
    with pytest.raises(InputError, match="these settings"):
        train_camera(options(tmp_path, pictures, resume=True), model=model)
    (tmp_path / PLAN_NAME).write_text('{"steps": ')
    with pytest.raises(FileFormatError, match=r"a training plan; found damage in .*plan\.json"):
        train_camera(options(tmp_path, pictures, resume=True, steps=None), model=model)


def test_a_full_disk_is_told_while_latents_are_kept(tmp_path: Path, pictures: Path, model: SvdModel) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(OutputError, match=r"room on the disk for .*latents-"):
            train_camera(options(tmp_path, pictures), model=model)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not list(tmp_path.iterdir())


def test_early_stop_believes_the_meter_twice(
    tmp_path: Path, pictures: Path, model: SvdModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    from svd_core.training import camera_watch

    reached = torch.zeros(1, len(COLUMNS))
    reached[:, 0] = -12.0
    monkeypatch.setattr(camera_watch, "read", lambda *_: Readings({0.0: torch.zeros_like(reached), 1.0: reached}))
    result = train_camera(options(tmp_path, pictures, steps=10, early_stop=True), model=model)
    assert result.steps == 4 and "twice" in result.notes[0]
    assert len(list((tmp_path / "samples").glob("*.webp"))) == 2
    first = result.lora.read_bytes()
    again = train_camera(options(tmp_path, pictures, steps=10, early_stop=True, resume=True), model=model)
    assert again.steps == 4 and again.lora.read_bytes() == first, "stopped is finished"


def test_recomputation_changes_nothing_but_memory(tmp_path: Path, pictures: Path, model: SvdModel) -> None:
    from svd_core.training import camera_loop
    from svd_core.training.camera_latents import LatentGroups

    def losses(checkpointing: bool) -> list[float]:
        recipe = camera_loop.CameraRecipe(
            steps=2, rank=2, targets=("attention",), learning_rate=1e-2, batch=1, law=law_for(SVD, SIZE),
            buckets=(20.0, 180.0), checkpointing=checkpointing, seed=1,
        )  # fmt: skip
        generator = torch.Generator().manual_seed(0)
        group = {
            "latents": torch.randn(1, 3, 8, 8, 8, generator=generator),
            "condition": torch.randn(1, 8, 8, 8, generator=generator),
            "context": torch.randn(1, 1, 32, generator=generator),
            "fps": torch.tensor([8.0]),
            "bucket": torch.tensor([float("nan")]),
            "strength": torch.tensor([0.5, 1.0, 0.75]),
        }
        groups = LatentGroups(groups=(group,), pixel_noise=torch.ones(8))
        trainer = camera_loop.CameraTrainer(model.unet, recipe, groups, tmp_path, "key")
        found: list[float] = []
        trainer.run(lambda report: bool(found.append(report.loss)))
        return found

    assert losses(True) == pytest.approx(losses(False), rel=1e-5)


SIZE = ClipSize(frames=3, height=320, width=512)


def test_more_pixels_are_trained_with_more_noise() -> None:
    small, large = law_for(SVD, SIZE), law_for(SVD, ClipSize(frames=3, height=640, width=1024))
    assert large.mean - small.mean == pytest.approx(0.693, abs=1e-3)


def test_the_opposite_move_is_the_same_lora_turned_round(model: SvdModel) -> None:
    from svd_core.camera.lora import CameraLora

    deltas = fresh_deltas(model.unet, ("attention",), 2, 0)
    for delta in deltas.values():
        torch.nn.init.normal_(delta.up, std=0.3)
    x, noise = torch.randn(3, 16, 8, 8), torch.zeros(1)
    context, vector = torch.randn(1, 1, 32), torch.randn(1, 192)
    outputs: list[torch.Tensor] = []
    for values, strength in ((deltas, -0.7), (turned(deltas), 0.7)):
        lora = CameraLora(name="x", deltas=values, dialect="ours", rank=2, alpha=2, total=1, no_effect=0)
        adapter = attach(model.unet, [(lora, strength)])
        with torch.no_grad():
            outputs.append(model.unet(x, noise, context, vector, 3))
        adapter.detach()
    assert torch.allclose(outputs[0], outputs[1], atol=1e-6)


def test_readings_say_what_share_went_the_right_way() -> None:
    target = target_of("pan_left", 8)
    still, moved = torch.zeros(4, len(COLUMNS)), torch.zeros(4, len(COLUMNS))
    still[:, 0] = 1.0
    moved[:, 0] = torch.tensor([-3.0, -1.0, 0.5, 2.0])
    moved[:, 1] = 0.5
    readings = Readings({0.0: still, 1.0: moved})
    assert readings.right(1.0, target) == 0.5 and readings.paired(1.0, target) == 0.75
    assert readings.amount(1.0, target) == pytest.approx(1.375)
    assert readings.off_axis(1.0, target) == pytest.approx(0.5 / 1.375)
    assert readings.calibration(target, 8) == Calibration(points=((0.0, 0.0), (1.0, pytest.approx(1.375))), fps=8)
    assert readings.turned().right(-1.0, target_of("pan_right", 8)) == 0.5
    assert readings.calibration(target_of("static", 8), 8) is None


def test_a_held_camera_must_leave_the_subject_its_motion() -> None:
    target = target_of("static", 8)
    plain, held = torch.full((4, len(COLUMNS)), 0.4), torch.full((4, len(COLUMNS)), 0.1)
    assert not passes(Readings({0.0: plain, 1.0: held}), target)
    held[:, COLUMNS.index("subject")] = 0.25
    assert passes(Readings({0.0: plain, 1.0: held}), target)
    assert not passes(Readings({0.0: held, 1.0: plain}), target), "a camera that moves more passes"


def test_a_clip_is_shown_with_its_own_bucket_or_one_at_random(
    tmp_path: Path, pictures: Path, model: SvdModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[float] = []

    def loss(unet: object, clips: TrainingClips, *more: Any) -> torch.Tensor:
        shown.extend(clips.motion_bucket.tolist())
        return diffusion_loss(cast("Any", unet), clips, *more)

    monkeypatch.setattr(camera_loop, "diffusion_loss", loss)
    train_camera(options(tmp_path / "random", pictures), model=model)
    assert len(set(shown)) == len(shown) == 8 and BUCKETS[0] <= min(shown) <= max(shown) <= BUCKETS[1]
    group = PhotoSource.group
    with_bucket = partialmethod(lambda source, index: [replace(c, motion_bucket=7.0) for c in group(source, index)])
    monkeypatch.setattr(PhotoSource, "group", with_bucket)
    shown.clear()
    train_camera(options(tmp_path / "own", pictures), model=model)
    assert set(shown) == {7.0}


def test_both_directions_ship_and_nothing_that_fails(
    tmp_path: Path, pictures: Path, model: SvdModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = options(tmp_path, pictures)
    monkeypatch.setattr(camera_shipped, "passes", lambda *_: True)
    files = {move.preset: move.file for move in train_shipped(asked, presets=("pan_right",), model=model)}
    right, left = (load_camera_lora(str(files[preset])) for preset in ("pan_right", "pan_left"))
    assert all(torch.equal(left.deltas[path].up, -delta.up) for path, delta in right.deltas.items())
    assert left.preset == "pan_left" and left.calibration is not None and right.calibration is not None
    assert left.calibration.points[0][1] == pytest.approx(-right.calibration.points[-1][1], abs=1e-3)
    monkeypatch.setattr(camera_shipped, "passes", lambda *_: False)
    again = train_shipped(replace(asked, resume=True), presets=("pan_right",), model=model)
    assert [move.file for move in again] == [None, None] and not list(tmp_path.rglob("shipped/*.safetensors"))
    assert json.loads((tmp_path / "shipped" / "camera.json").read_text())["pan_left"]["shipped"] is False


@pytest.mark.parametrize("path", sorted(SHIPPED.glob("*.safetensors")), ids=lambda path: path.stem)
def test_what_ships_was_made_at_the_defaults(path: Path) -> None:
    """So that `svd train camera --preset all` makes it again."""
    made = json.loads(load_camera_lora(path).metadata["svd_studio.training"])
    usual, size = Options(out=path, preset=path.stem), ClipSize(frames=14, height=64, width=64)
    law = law_for(NANO, size)
    assert made["source"] == usual.source.kind == "worlds"
    assert made["groups"] * usual.source.per_group == usual.source.clips_drawn
    assert made["steps"] == steps_for(NANO, held=path.stem == "static")
    assert (made["batch"], made["rank"], made["seed"]) == (BATCH[True], RANK[True], usual.seed)
    assert (tuple(made["targets"]), made["learning_rate"]) == (usual.targets, usual.learning_rate)
    assert made["noise"] == [law.mean, law.deviation]
    assert {row["clips"] for row in made["measured"]} == {TRIALS[True]}
    assert {path.stem, find_preset(path.stem).opposite} & set(camera_shipped.SHIPPED)


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"batch": 0}, InputError, "at least one clip"),
        ({"rank": 0}, InputError, "rank"),
        ({"targets": ("nothing",)}, InputError, "target"),
        ({"preset": "sideways"}, InputError, "preset"),
        ({"size": (30, 32)}, InputError, "multiples"),
        ({"frames": 1}, InputError, "at least 2 frames"),
    ],
)
def test_bad_options_are_refused(
    tmp_path: Path, pictures: Path, model: SvdModel, changes: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        train_camera(options(tmp_path, pictures, **changes), model=model)
    assert not begun(tmp_path), "the corrected command would be told to resume"


def test_models_of_another_family_are_refused(tmp_path: Path, pictures: Path, model: SvdModel) -> None:
    other = dataclasses.replace(model, config=dataclasses.replace(model.config, family="sv3d_u"))
    with pytest.raises(UnsupportedModelError, match="sv3d_u"):
        train_camera(options(tmp_path, pictures), model=other)
