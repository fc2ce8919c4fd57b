"""The refiner: nothing when untrained, the same run to the bit through a stop, scenes that move as they say."""

from __future__ import annotations

import json
import resource
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from svd_core.errors import FileFormatError, NumericsError, OutputError
from svd_core.interpolation import engines
from svd_core.interpolation.engines import Flow, Gap
from svd_core.interpolation.refiner import METADATA, Refiner, load_refiner, refined
from svd_core.interpolation.synthesis import draw, draw_with_evidence, find_motion
from svd_core.training import refiner, refiner_classes, refiner_pool, refiner_worlds
from svd_core.training.refiner import FILE_NAME, STATE_NAME, RefinerOptions, RefinerTrainer, train_refiner
from svd_core.training.refiner_classes import draw_class_pair
from svd_core.training.refiner_scenes import draw_pair
from svd_core.training.refiner_scores import Score, Verdict
from svd_core.training.refiner_worlds import draw_world_pair, glimpses
from svd_core.training.run_log import LOG_NAME
from svd_core.training.worlds import HELD_OUT, TRAINING, WorldSize, clip_generator, draw_world, render
from tests.command_line import run_here
from tests.interpolation_scenes import scene


@pytest.fixture(autouse=True)
def small_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refiner_pool, "SIZE", (64, 72))
    monkeypatch.setattr(refiner_pool, "_PAIRS", 2)
    monkeypatch.setattr(refiner_pool, "_STEPS_A_PAIR", 1)
    monkeypatch.setattr(refiner_pool, "CROP", 32)
    monkeypatch.setattr(refiner_worlds, "SIZES", ((32, 40), (40, 32)))
    monkeypatch.setattr(refiner_classes, "SIZE", (32, 40))


def test_scenes_are_fixed_by_their_index_and_move_steadily() -> None:
    pair, again = draw_pair(3, 5, 48, 64), draw_pair(3, 5, 48, 64)
    assert torch.equal(pair.first, again.first) and torch.equal(pair.truth, again.truth) and pair.times == again.times
    assert not torch.equal(pair.first, draw_pair(3, 6, 48, 64).first)
    assert all(third / 3 < time < (third + 1) / 3 for third, time in enumerate(pair.times))
    # What lies between resembles the nearer end more, in nearly every scene.
    nearer = 0
    for index in range(12):
        scene_ = draw_pair(1, index, 48, 64)
        early = (scene_.truth[0] - scene_.first).square().mean() <= (scene_.truth[0] - scene_.second).square().mean()
        late = (scene_.truth[2] - scene_.second).square().mean() <= (scene_.truth[2] - scene_.first).square().mean()
        nearer += bool(early) + bool(late)
    assert nearer >= 20


def test_a_fifth_of_the_pairs_are_worlds_fixed_by_their_index(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refiner_worlds, "SIZES", ((32, 36), (36, 32)))
    monkeypatch.setattr(refiner_pool, "SIZE", (32, 40))
    drawn = [refiner_pool.training_pair(3, index) for index in range(10)]
    worlds = [pair for pair in drawn if pair.first.shape[-2:] != (32, 40)]
    assert len(worlds) == 2 and worlds == [drawn[4], drawn[9]]
    again, other, unseen = (
        draw_world_pair(seed, 4, split) for seed, split in ((3, TRAINING), (4, TRAINING), (3, HELD_OUT))
    )
    assert torch.equal(drawn[4].first, again.first) and torch.equal(drawn[4].truth, again.truth)
    assert drawn[4].times == again.times and all(t / 3 < time < (t + 1) / 3 for t, time in enumerate(again.times))
    for pair in (other, unseen):
        assert pair.times != again.times and not torch.equal(pair.truth, again.truth)


@pytest.mark.parametrize("index", range(4))
def test_worlds_are_drawn_at_any_moment(index: int) -> None:
    """At whole frames what `render` draws, with subjects, layers in front and eases; between them nearer to both."""
    size = WorldSize(frames=9, height=24, width=32)
    world = draw_world(clip_generator(5, TRAINING, index), size, "mix", 0.02)
    frames = (render(world, size)[0] + 1) / 2
    torch.testing.assert_close(
        glimpses(world, size, [0, 240, 5 * 240, 8 * 240]), frames[[0, 1, 5, 8]], atol=2e-5, rtol=0
    )
    third, half, fourth = glimpses(world, size, [3 * 240, 3 * 240 + 120, 4 * 240])
    steps = [float((one - two).square().mean()) for one, two in ((third, half), (half, fourth), (third, fourth))]
    assert 0 < max(steps[:2]) < steps[2]


def test_a_hand_s_shake_goes_straight_between_two_frames() -> None:
    size = WorldSize(frames=4, height=16, width=16)
    world = draw_world(clip_generator(5, TRAINING, 0), size, "handheld", 0.05)
    frames = (render(world, size)[0] + 1) / 2
    torch.testing.assert_close(glimpses(world, size, [0, 240, 480, 720]), frames, atol=2e-5, rtol=0)


@pytest.mark.parametrize("kind", refiner_classes.CLASSES)
def test_classes_move_as_they_are_called(kind: str) -> None:
    """The frames between are what constant motion from the first to the second frame makes of them."""
    pair, again = draw_class_pair(kind, 1, 2, 96, 128), draw_class_pair(kind, 1, 2, 96, 128)
    assert torch.equal(pair.truth, again.truth) and pair.times == (0.25, 0.5, 0.75)
    assert not torch.equal(pair.truth, draw_class_pair(kind, 1, 3, 96, 128).truth)
    first, second = pair.first[None], pair.second[None]
    motion = find_motion(first, second)
    for time, truth in zip(pair.times, pair.truth, strict=True):
        error = (draw(first, second, motion, time)[0] - truth).square().mean()
        assert error < (torch.lerp(pair.first, pair.second, time) - truth).square().mean() / 4


@pytest.mark.parametrize(
    ("changed", "ships", "said"),
    [
        ({}, True, "May ship: +0.20 dB in the mean"),
        ({"worlds": -0.29, "zoom": -0.29}, True, "May ship"),
        ({"worlds": -0.31}, False, "too much is lost on worlds (-0.31)"),
        ({"occlude large": -0.4, "rotate": 3.0}, False, "too much is lost on occlude large (-0.40)"),
        (
            {"translate": -0.3, "zoom": -0.3, "rotate": -0.3, "large": -0.3},
            False,
            "Must not ship: -0.13 dB in the mean",
        ),
        ({"zoom": float("nan")}, False, "Must not ship"),
    ],
)
def test_the_rule_to_ship(changed: dict[str, float], ships: bool, said: str) -> None:
    gains = {**dict.fromkeys((*refiner_classes.CLASSES, "worlds"), 0.2), **changed}
    scores = {kind: Score([30.0, 50.0], [30.0 + gain, 50.0 + gain]) for kind, gain in gains.items()}
    verdict = Verdict.of(scores)
    assert verdict.ships == ships and said in verdict.sentence()
    assert verdict.to_json()["ships"] == ships


def test_the_command_tells_the_verdict(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    defaults = {**(RefinerOptions.__init__.__kwdefaults__ or {}), "scored_pairs": 1, "judged_scenes": 1}
    monkeypatch.setattr(RefinerOptions.__init__, "__kwdefaults__", defaults)
    words = ["train", "refiner", "--out", tmp_path / "run", "--steps", "1"]
    done = run_here(capsys, *words)
    assert done.code == 0, done.err
    assert "occlude large" in done.out and "ship:" in done.out
    told = json.loads((tmp_path / "run" / "scores.json").read_text(encoding="utf-8"))["verdict"]
    assert ("May ship" in done.out) == told["ships"]


def test_untrained_changes_nothing_and_agreement_cannot_be_changed() -> None:
    shown = scene("occlude", 2, (50, 70))
    first, second = (frame.permute(2, 0, 1)[None] for frame in shown.ends())
    motion = find_motion(first, second)
    drawn = draw_with_evidence(first, second, motion, 0.4)
    assert torch.equal(drawn.picture, draw(first, second, motion, 0.4))
    network = Refiner()
    assert torch.equal(refined(network, drawn, 0.4), drawn.picture)
    torch.nn.init.normal_(network.leave.weight, std=1.0)
    assert not torch.equal(refined(network, drawn, 0.4), drawn.picture)
    same = replace(drawn, warped=drawn.warped[:1].expand(2, -1, -1, -1), picture=drawn.warped[:1])
    torch.testing.assert_close(refined(network, same, 0.4), same.picture, atol=1e-6, rtol=0)


def test_alpha_and_grey_pass_a_refined_engine() -> None:
    ends = scene("translate", 1, (32, 40)).ends()
    engine = Flow(Refiner())
    assert engine.name == "flow+refiner"
    for channels in (1, 4):
        gap = Gap(*(torch.cat((frame, frame[..., :1]), dim=-1)[..., -channels:] for frame in ends), (0.5,))
        plain, better = (next(iter(one.between([gap]))) for one in (Flow(), engine))
        assert torch.equal(plain, better)


def test_a_refiner_of_the_package_is_used_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "shipped", Refiner)
    assert engines.flow_engine(0.5).name == "flow+refiner"
    monkeypatch.setattr(engines, "shipped", lambda: None)
    assert engines.flow_engine().name == "flow"


def test_a_stopped_run_ends_as_if_it_had_not_been(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def options(name: str, steps: int, **more: bool) -> RefinerOptions:
        return RefinerOptions(out=tmp_path / name, steps=steps, scored_pairs=1, judged_scenes=1, **more)

    class StoppedError(Exception):
        pass

    def stop(step: int, steps: int, loss: float) -> None:
        if step == 3:
            raise StoppedError

    whole, run = train_refiner(options("whole", 5)), RefinerTrainer.run
    with monkeypatch.context() as patch, pytest.raises(StoppedError):
        patch.setattr(RefinerTrainer, "run", lambda self, progress: run(self, progress, save_seconds=0.0))
        train_refiner(options("parts", 5), stop)
    parts = train_refiner(options("parts", 5, resume=True))
    one, two = (load_file(result.file) for result in (whole, parts))
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert any(bool(value.any()) for name, value in one.items() if name.startswith("leave")), "nothing was learnt"
    facts = json.loads((tmp_path / "whole" / "scores.json").read_text(encoding="utf-8"))
    assert facts["recipe"]["steps"] == 5 and set(facts["scores"]) == {"scenes", "worlds", *refiner_classes.CLASSES}
    assert facts["verdict"]["ships"] == whole.verdict.ships and set(facts["verdict"]["gains"]) == set(whole.scores) - {
        "scenes"
    }
    assert load_refiner(whole.file).widths == tuple(facts["widths"])


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no full device here")
def test_a_full_disk_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refiner, "_LOG_EVERY", 1)
    (tmp_path / LOG_NAME).symlink_to("/dev/full")
    with pytest.raises(OutputError, match="room on the disk"):
        train_refiner(RefinerOptions(out=tmp_path, steps=1))


def test_a_full_disk_is_said_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RefinerTrainer, "run", lambda *_: None)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(OutputError, match=f"room on the disk for .*{FILE_NAME}"):
            train_refiner(RefinerOptions(out=tmp_path, steps=1, scored_pairs=1, judged_scenes=1))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("what", ["loss", "gradient"])
def test_what_is_no_number_is_named_with_its_pairs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    real = RefinerTrainer._loss

    def breaking(self: RefinerTrainer, crops: refiner_pool.Crops) -> torch.Tensor:
        loss = real(self, crops)
        if what == "loss":
            return loss * float("nan")
        loss.register_hook(lambda gradient: gradient * float("nan"))
        return loss

    monkeypatch.setattr(RefinerTrainer, "_loss", breaking)
    with pytest.raises(NumericsError, match=rf"finite training {what}; found nan at step 0, pairs \(0, 1\)\. "):
        train_refiner(RefinerOptions(out=tmp_path, steps=1))
    assert not (tmp_path / STATE_NAME).exists()


def test_learning_helps(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Two pairs, seen again and again: they at least must get better."""
    monkeypatch.setattr(refiner_pool, "_STEPS_A_PAIR", 10**6)
    losses: list[float] = []
    train_refiner(
        RefinerOptions(out=tmp_path / "run", steps=60, scored_pairs=1, judged_scenes=1, seed=2),
        lambda *told: losses.append(told[2]),
    )
    assert losses[0] == pytest.approx(0, abs=1e-6) and sum(losses[-10:]) / 10 < -0.05, losses[-10:]


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / STATE_NAME).write_bytes(b"nothing")
    with pytest.raises(FileFormatError, match="training state"):
        train_refiner(RefinerOptions(out=tmp_path / "run", resume=True))
    broken = tmp_path / FILE_NAME
    save_file({"x": torch.zeros(1)}, broken, {METADATA: json.dumps({"widths": [8, 8, 8]})})
    with pytest.raises(FileFormatError, match="svd train refiner"):
        load_refiner(broken)
