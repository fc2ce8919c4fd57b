"""Training the interpolator: windows, losses, to the bit through a resume, scores and the finished file."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Generator

from svd_core.config import InterpolatorConfig
from svd_core.errors import FileFormatError, InputError
from svd_core.training import interpolator_loop, interpolator_trials
from svd_core.training import loop as loop_module
from svd_core.training.export import export
from svd_core.training.interpolator import (
    INTERPOLATOR_NAME,
    InterpolatorOptions,
    interpolator_config,
    train_interpolator,
)
from svd_core.training.interpolator_clips import SPEEDS, draw_windows, held_out
from svd_core.training.interpolator_gate import Products, best_gate, fit_gate, products_of
from svd_core.training.interpolator_loop import RECIPE, masked_loss, residual_loss
from svd_core.training.loop import Report
from svd_core.training.networks import start
from svd_core.training.pool import LatentClips
from svd_core.training.run_options import PLAN_NAME
from svd_core.training.worlds import WorldSize
from svd_core.unet.interpolator import VideoInterpolator, blend, contrast, opened
from svd_core.weights.build import SvdModel, load_model
from svd_core.weights.fingerprint import latent_fingerprint
from svd_core.weights.video_engine import VideoBetween
from svd_core.weights.video_interpolators import load_interpolator_network
from tests.models import SMALL
from tests.tiny import randomise_

BASE = dataclasses.replace(
    SMALL,
    autoencoder=dataclasses.replace(SMALL.autoencoder, scale_factor=1.0),
    sampling=dataclasses.replace(SMALL.sampling, frames=9, width=32, height=32),
)
UNET = dataclasses.replace(SMALL.unet, in_channels=17, channels=(16, 16), head_channels=16, norm_groups=4)
RESIDUAL = InterpolatorConfig(name="residual", form="residual", unet=UNET)
STAGE = dataclasses.replace(RECIPE["residual"], steps=4, batch=2, refresh=1, window=(1, 2))


@pytest.fixture(scope="module")
def base_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("base") / "base.safetensors"
    export(start(BASE, seed=2), path, {})
    return path


@pytest.fixture
def base(base_file: Path) -> SvdModel:
    return load_model(base_file, dtype=torch.float32)


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interpolator_loop, "_CHUNK", 2)
    monkeypatch.setattr(interpolator_loop, "_MOST_ERROR", float("inf"))
    monkeypatch.setattr(loop_module, "_BASIS_CLIPS", 4)


def _options(out: Path, base_file: Path) -> InterpolatorOptions:
    return InterpolatorOptions(out=out, model=base_file, config=RESIDUAL, stage=STAGE, scored_clips=2, seed=6)


class _Stop(Exception):
    pass


def _stop_after(step: int) -> Callable[[Report], None]:
    def stop(report: Report) -> None:
        if report.step == step:
            raise _Stop

    return stop


def test_a_resumed_run_writes_the_same_file(tmp_path: Path, base_file: Path) -> None:
    whole = train_interpolator(_options(tmp_path / "whole", base_file))
    # Killed after its third step, with the second one saved.
    killed = dataclasses.replace(_options(tmp_path / "killed", base_file), save_seconds=0.0)
    with pytest.raises(_Stop):
        train_interpolator(killed, _stop_after(3))
    steps: list[int] = []
    resumed = train_interpolator(dataclasses.replace(killed, resume=True), lambda report: steps.append(report.step))
    assert steps == [3, 4]
    expected, found = (load_interpolator_network(result.model) for result in (whole, resumed))
    same = {
        name: torch.equal(value, found.model.state_dict()[name]) for name, value in expected.model.state_dict().items()
    }
    assert all(same.values())
    assert bool(expected.model.state_dict()["unet.out.2.weight"].any()), "nothing was learnt"
    assert [row.to_json() for row in whole.rows] == [row.to_json() for row in resumed.rows]


def test_the_file_says_what_it_is(tmp_path: Path, base_file: Path, base: SvdModel) -> None:
    result = train_interpolator(_options(tmp_path, base_file))
    stored = load_interpolator_network(tmp_path / INTERPOLATOR_NAME)
    assert result.model == tmp_path / INTERPOLATOR_NAME
    low, high = stored.model.config.gate
    assert (
        stored.model.config == dataclasses.replace(RESIDUAL, gate=(low, high))
        and high > 0
        and stored.base == latent_fingerprint(base)
    )
    assert json.loads(stored.metadata["svd_studio.recipe"])["steps"] == 4
    assert [row["speed"] for row in json.loads(stored.metadata["svd_studio.scores"])] == list(SPEEDS)
    log = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    assert log[-1]["step"] == 4


def test_an_encoder_far_from_its_linear_part_is_refused(
    tmp_path: Path, base_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It cannot be taught from the linear anchor."""
    monkeypatch.setattr(interpolator_loop, "_MOST_ERROR", 0.05)
    with pytest.raises(InputError, match="embedded one's kind"):
        train_interpolator(_options(tmp_path, base_file))


def test_another_base_does_not_resume(tmp_path: Path, base_file: Path) -> None:
    options = _options(tmp_path / "run", base_file)
    train_interpolator(options)
    other = tmp_path / "other.safetensors"
    export(start(BASE, seed=3), other, {})
    plan = options.out / PLAN_NAME
    before = plan.read_text()
    with pytest.raises(InputError, match="another config"):
        train_interpolator(dataclasses.replace(options, model=other, resume=True, steps=9))
    assert plan.read_text() == before, "what is refused changes nothing"
    plan.write_text('{"steps": ')
    with pytest.raises(FileFormatError, match="give --steps as before"):
        train_interpolator(dataclasses.replace(options, resume=True))


def test_forms_for_a_base(base: SvdModel) -> None:
    masked = interpolator_config("masked", base)
    assert masked.unet == dataclasses.replace(base.config.unet, in_channels=17) and masked.mask_channel
    residual = interpolator_config("residual", base)
    assert (residual.unet.in_channels, residual.unet.context_dim) == (17, SMALL.image_encoder.projection)
    assert residual.unet.vector == base.config.unet.vector
    VideoInterpolator(masked, device="meta")
    VideoInterpolator(residual, device="meta")


def test_windows_keep_their_order() -> None:
    """Latents that hold their frame number: evenly spaced, either way round, pictures of the two ends."""
    index = torch.arange(14.0)
    clips = LatentClips(
        latents=index[None, :, None, None, None].expand(64, 14, 1, 1, 1),
        origins=torch.zeros(64, 14, 2, 1, 1),
        condition=torch.zeros(64, 1, 1, 1),
        stills=index.to(torch.uint8)[None, :, None, None, None].expand(64, 14, 3, 1, 1),
        fps=torch.ones(64),
        motion_bucket=torch.ones(64),
        chunks=(0,),
    )
    windows = draw_windows(clips, 5, Generator().manual_seed(0))
    numbers = windows.latents.flatten(1)
    steps = numbers.diff(dim=1)
    assert torch.equal(steps, steps[:, :1].expand(-1, 4))
    assert {int(step) for step in steps[:, 0]} == {-3, -2, -1, 1, 2, 3}
    ends = ((windows.pictures[:, :, 0, 0, 0] + 1) * 127.5).round()
    assert torch.equal(ends, numbers[:, [0, -1]])


def test_losses_vanish_for_the_right_answer(base: SvdModel) -> None:
    torch.manual_seed(0)
    latents = torch.randn(2, 5, 8, 4, 4)
    context, vector = torch.randn(2, 2, 32), torch.randn(2, UNET.vector_dim)
    keys = latents[:, [0, -1]].transpose(0, 1)
    model = VideoInterpolator(RESIDUAL)
    missing = (latents - blend(latents[:, 0], latents[:, -1], 5))[:, 1:-1]
    spread = contrast(latents[:, 0], latents[:, -1])

    def perfect(*_: object) -> torch.Tensor:
        return missing / spread

    assert float(residual_loss(model, latents, keys, context, vector).detach()) > 0.1
    model.residual = perfect  # type: ignore[method-assign]
    assert float(residual_loss(model, latents, keys, context, vector)) < 1e-10

    masked = VideoInterpolator(dataclasses.replace(RESIDUAL, form="masked"))
    randomise_(masked)
    loss = masked_loss(masked, latents, keys, context, vector, RECIPE["masked"].noise, Generator().manual_seed(1))
    loss.backward()
    assert masked.mask_token is not None and masked.mask_token.grad is not None
    assert float(masked.mask_token.grad.abs().sum()) > 0, "the mask token learns"


@pytest.mark.parametrize("speed", ["still", "slow", "fast"])
def test_held_out_clips_are_of_their_class(speed: str) -> None:
    size = WorldSize(frames=5, height=32, width=32)
    first, again = (held_out(3, 2, speed, size) for _ in range(2))
    low, high = (bound / 2 for bound in SPEEDS[speed])
    assert torch.equal(first.pixels, again.pixels)
    assert bool(((first.flow >= low) & (first.flow < high)).all())


def test_scores_of_nothing_added(base: SvdModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """A silent network is the blend: no gain, no loss, every clip won by a draw."""
    network = VideoInterpolator(RESIDUAL).eval()
    for parameter in network.unet.out[2].parameters():
        parameter.data.zero_()
    (row,) = interpolator_trials.compare(VideoBetween(network=network, base=base), 1, 2, ("middle",))
    assert (row.gain, row.won, row.worst) == (0.0, 1.0, 0.0)
    assert row.pixels_engine == pytest.approx(row.pixels_blend, abs=1e-4)
    assert row.pixels_flow > row.pixels_blend
    # The decibels are of errors averaged first: by hand for one class.
    worlds = held_out(1, 2, "middle", WorldSize(frames=5, height=32, width=32))
    faded = blend(worlds.pixels[:, 0], worlds.pixels[:, -1], 5)
    error = ((faded - worlds.pixels)[:, 1:-1] / 2).square().mean()
    assert row.pixels_blend == pytest.approx(float(-10 * error.log10()), abs=1e-4)


def _products(contrasts: list[float], added: float, both: float) -> Products:
    ones = torch.ones(len(contrasts))
    return Products(contrast=torch.tensor(contrasts), added=ones * added, missing=ones, both=ones * both)


def test_the_gate_shuts_out_what_loses() -> None:
    """Noise on quiet clips up to contrast 0.4, half of the missing found above: open from a fifth beyond 0.4."""
    quiet, moving = _products([0.01, 0.2, 0.4], 0.5, 0.0), _products([0.6, 0.9, 1.2], 0.25, 0.5)
    low, high = best_gate({"still": quiet, "slow": quiet, "middle": moving, "fast": moving})
    assert low == pytest.approx(0.5) and 0.5 < high <= 0.6
    # A network that is never wrong needs no gate, one that always is stays shut.
    good = best_gate(dict.fromkeys(SPEEDS, moving))
    assert good[0] <= 0.55 and float(opened(good, torch.tensor(0.6))) == 1
    shut = best_gate({"still": quiet, "slow": quiet, "middle": quiet, "fast": quiet})
    assert float(opened(shut, torch.tensor(3.0))) == 0


def test_products_give_the_errors(base: SvdModel) -> None:
    network = VideoInterpolator(RESIDUAL).eval()
    randomise_(network)
    between = VideoBetween(network=network.requires_grad_(False), base=base)
    products = products_of(between, 4, 2, "fast")
    clips = held_out(4, 2, "fast", WorldSize(frames=5, height=32, width=32)).pixels
    with torch.no_grad():
        true = base.autoencoder.encode(clips.flatten(0, 1)).unflatten(0, (2, 5))
        made = between.latents(clips[:, [0, -1]])
        fade = blend(made[:, 0], made[:, -1], 5)
    half = (fade + 0.5 * (made - fade) - true)[:, 1:-1].square().sum((1, 2, 3, 4))
    expected = half + (fade - true)[:, [0, -1]].square().sum((1, 2, 3, 4))
    assert torch.allclose(products.errors(torch.tensor(0.5)), expected, rtol=1e-4)
    low, high = fit_gate(between, 4, 2)
    network.config = dataclasses.replace(RESIDUAL, gate=(low, high))
    assert not network.unet.training and 0 <= low <= high
