"""Clips between pictures on small random models: ends, counts, loops, chains, and what a killed run leaves."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from svd_core.errors import Cancelled, InputError
from svd_core.in_betweening import gap as gap_module
from svd_core.in_betweening import run as run_module
from svd_core.in_betweening.chain import Gap, Shelf, around, gaps, joined, mark_of
from svd_core.in_betweening.flow_start import flow_start
from svd_core.in_betweening.run import in_between, in_between_clip
from svd_core.in_betweening.settings import InBetweenSettings
from svd_core.pipeline import Watch
from svd_core.sampling import Bounded
from svd_core.settings import AnimateSettings
from svd_core.types import StepInfo
from svd_core.unet import HoistedUNet
from svd_core.unet.plan import LEANEST
from tests.models import SMALL, SMALL_ORBIT, Networks, random_model
from tests.tolerances import relative_l2

FRAMES, STEPS = 4, 3


@pytest.fixture(scope="module")
def model() -> Networks:
    return random_model(SMALL)


def pictures(count: int, height: int = 24, width: int = 32) -> list[Tensor]:
    generator = torch.Generator().manual_seed(5)
    return [torch.rand(height, width, 3, generator=generator) for _ in range(count)]


def settings(**changes) -> InBetweenSettings:
    return InBetweenSettings(clip=AnimateSettings(seed=7), **changes)


def test_both_pictures_are_the_clips_ends_bit_for_bit(model: Networks) -> None:
    first, second = pictures(2)
    clip = in_between(model, [first, second], seed=1)
    assert clip.pixels.shape == (FRAMES, 24, 32, 3)
    assert torch.equal(clip.pixels[0], first) and torch.equal(clip.pixels[-1], second)
    soft = in_between(model, [first, second], seed=1, keep_ends=False)
    assert not torch.equal(soft.pixels[0], first)
    assert torch.equal(soft.pixels[1:-1], clip.pixels[1:-1])


@pytest.mark.parametrize("method", ["vibid", "mpd", "trf"])
def test_every_method_depends_on_both_pictures(model: Networks, method: str) -> None:
    first, second = pictures(2)
    clip = in_between(model, [first, second], method=method, keep_ends=False)
    for other in ([first, first], [second, second]):
        changed = in_between(model, other, method=method, keep_ends=False)
        assert relative_l2(changed.pixels[1:-1], clip.pixels[1:-1]) > 1e-3
    assert torch.equal(clip.pixels, in_between(model, [first, second], method=method, keep_ends=False).pixels)
    assert not torch.equal(clip.pixels, in_between(model, [first, second], method=method, seed=1).pixels)


def test_vibid_makes_two_calls_a_step_with_both_halves(model: Networks, monkeypatch: pytest.MonkeyPatch) -> None:
    rows: list[int] = []
    right = HoistedUNet.__call__

    def counting(self: HoistedUNet, x: Tensor, c_noise: Tensor) -> Tensor:
        rows.append(x.shape[0])
        return right(self, x, c_noise)

    monkeypatch.setattr(HoistedUNet, "__call__", counting)
    in_between(model, pictures(2))
    assert rows == [2 * FRAMES] * 2 * STEPS


def test_halves_in_turn_differ_by_rounding_only(model: Networks, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = in_between_clip(model, pictures(2), settings()).latents
    monkeypatch.setattr(gap_module, "plan_for", lambda *_: LEANEST)
    assert relative_l2(in_between_clip(model, pictures(2), settings()).latents, whole) <= 1e-5


def test_a_loop_of_one_picture(model: Networks) -> None:
    (picture,) = pictures(1)
    made = in_between_clip(model, [picture], settings(loop=True))
    assert len(made.frames.pixels) == FRAMES - 1, "the picture is shown twice"
    assert torch.equal(made.frames.pixels[0], picture)
    with pytest.raises(InputError, match="two pictures"):
        in_between(model, [picture])


def test_a_loop_is_decoded_past_its_seam() -> None:
    frames = torch.arange(5.0)
    longer, kept = around(frames)
    assert longer.tolist() == [1, 2, 3, 4, 0, 1, 2, 3, 4, 0, 1, 2, 3] and torch.equal(longer[kept], frames)


@pytest.mark.parametrize(("count", "loop", "frames"), [(3, False, 7), (3, True, 9), (2, True, 6)])
def test_a_chain_shows_every_picture_once(model: Networks, count: int, loop: bool, frames: int) -> None:
    keys = pictures(count)
    clip = in_between(model, keys, loop=loop)
    assert len(clip.pixels) == frames
    for index, key in enumerate(keys):
        shown = [place for place, frame in enumerate(clip.pixels) if torch.equal(frame, key)]
        assert shown == [index * (FRAMES - 1)]


def test_gaps_have_seeds_of_their_own() -> None:
    assert gaps(3, loop=True, seed=2**64 - 2) == [Gap(0, 0, 1, 2**64 - 2), Gap(1, 1, 2, 2**64 - 1), Gap(2, 2, 0, 0)]
    parts = [torch.tensor([0, 1, 2]), torch.tensor([2, 3, 4])]
    assert joined(parts, loop=False).tolist() == [0, 1, 2, 3, 4]
    assert joined(parts, loop=True).tolist() == [0, 1, 2, 3]


def test_a_killed_chain_goes_on_where_it_stopped(model: Networks, tmp_path: Path) -> None:
    keys, shelf = pictures(4), Shelf(tmp_path / "gaps")
    whole = in_between_clip(model, keys, settings())

    def killed(step: StepInfo) -> None:
        if step.index == 2 * STEPS:
            raise Cancelled

    with pytest.raises(Cancelled):
        in_between_clip(model, keys, settings(), shelf=shelf, watch=Watch(on_step=killed))
    assert len(list(shelf.folder.iterdir())) == 2
    steps: list[tuple[int, int]] = []
    watch = Watch(on_step=lambda step: steps.append((step.index, step.total)))
    again = in_between_clip(model, keys, settings(), shelf=shelf, watch=watch)
    assert again.reused == 2 and steps == [(index, STEPS) for index in range(STEPS)]
    assert torch.equal(again.latents, whole.latents) and torch.equal(again.frames.pixels, whole.frames.pixels)
    shelf.clear(again.kept)
    assert not shelf.folder.exists()


def test_only_what_a_change_touches_is_made_again(model: Networks, tmp_path: Path) -> None:
    keys, shelf = pictures(4), Shelf(tmp_path)
    in_between_clip(model, keys[:3], settings(), shelf=shelf)
    assert in_between_clip(model, [keys[3], *keys[1:3]], settings(), shelf=shelf).reused == 1
    assert in_between_clip(model, keys[:3], settings(bounded=Bounded(method="trf")), shelf=shelf).reused == 0
    assert in_between_clip(model, keys[:3], settings(keep_ends=False), shelf=shelf).reused == 2
    other = random_model(SMALL, seed=3)
    assert in_between_clip(other, keys[:3], settings(), shelf=shelf).reused == 0


def test_a_damaged_file_is_made_again(model: Networks, tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    first = in_between_clip(model, pictures(2), settings(), shelf=shelf)
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[:200])
    again = in_between_clip(model, pictures(2), settings(), shelf=shelf)
    assert again.reused == 0 and torch.equal(again.latents, first.latents)


def test_a_mark_knows_settings_and_pixels() -> None:
    pair = torch.rand(2, 3, 4, 4)
    mark = mark_of({"a": 1}, pair)
    assert mark == mark_of({"a": 1}, pair.clone())
    assert mark not in (mark_of({"a": 2}, pair), mark_of({"a": 1}, pair + 1e-6), mark_of({"a": 1}, pair.flip(0)))


def test_pictures_of_other_shapes_are_framed(model: Networks) -> None:
    first, second = pictures(1)[0], pictures(1, height=60, width=40)[0]
    clip = in_between(model, [first, second], framing="pad")
    assert clip.pixels.shape[1:3] == (24, 32)
    assert float(clip.pixels[-1, :, 0].abs().max()) == 0, "no bars beside an upright picture"
    cropped = in_between(model, [first, second])
    assert float(cropped.pixels[-1, :, 0].abs().max()) > 0


def moving(far: int) -> Tensor:
    wide = torch.nn.functional.interpolate(
        torch.rand(1, 3, 12, 24, generator=torch.Generator().manual_seed(2)), (96, 192), mode="bicubic"
    )[0].clamp(0, 1)
    return torch.stack([wide[..., 20:116], wide[..., 20 + far : 116 + far]])


def test_flow_start_moves_on_an_even_course() -> None:
    pair = moving(16)
    start = flow_start(pair, 5, 1.0, lambda pixels: pixels)
    assert start is not None and start.latents.shape == (5, 3, 96, 96) and start.sigma > 0
    half = moving(8)[1] * 2 - 1
    inside = (slice(None), slice(20, -20), slice(20, -20))
    error = (start.latents[2] - half)[inside].square().mean().sqrt()
    blend = ((pair[0] + pair[1]) - 1 - half)[inside].square().mean().sqrt()
    assert error < 0.3 * blend


def unrelated() -> list[Tensor]:
    """A coarse red texture and a finer blue one."""
    colours = (torch.tensor([1.0, 0.4, 0.1]), torch.tensor([0.1, 0.5, 1.0]))
    coarse = [torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(side)) for side in (4, 5)]
    large = [torch.nn.functional.interpolate(one, (24, 32), mode="bicubic")[0].clamp(0, 1) for one in coarse]
    return [one.movedim(0, -1) * colour for one, colour in zip(large, colours, strict=True)]


def test_flow_start_leaves_unrelated_pictures_alone(model: Networks) -> None:
    images = unrelated()
    assert flow_start(torch.stack(images).movedim(-1, 1), 5, 1.0, lambda pixels: pixels) is None
    told: list[str] = []
    made = in_between_clip(model, images, settings(flow_start=1.0), watch=Watch(on_notice=told.append))
    assert any("flow_start" in line for line in told)
    assert torch.equal(made.latents, in_between_clip(model, images, settings()).latents)


def test_flow_start_changes_the_clip_and_skips_steps(model: Networks) -> None:
    pair = moving(6)[:, :, :24, :32].movedim(1, -1)
    steps: list[StepInfo] = []
    watch = Watch(on_step=steps.append)
    from_flow = in_between_clip(model, list(pair), settings(flow_start=1.0), watch=watch)
    assert relative_l2(from_flow.latents, in_between_clip(model, list(pair), settings()).latents) > 1e-3
    assert 0 < len(steps) <= STEPS and steps[-1].index + 1 == steps[-1].total == STEPS


@pytest.mark.parametrize("told", [{"method": "magic"}, {"flow_start": -1.0}, {"frames": 1}, {"framing": "fold"}])
def test_what_makes_no_sense_is_refused_before_anything_runs(model: Networks, told: dict[str, object]) -> None:
    def never(step: StepInfo) -> None:
        raise AssertionError

    with pytest.raises(InputError, match="found"):
        in_between(model, pictures(2), on_step=never, **told)


def test_pictures_that_are_none_are_refused_by_name(model: Networks) -> None:
    """A batch in place of a picture would shift all that follow; NaN would end in noise."""
    one, two, three = pictures(3)
    with pytest.raises(InputError, match="one picture each; found 2 in the one numbered 1"):
        in_between_clip(model, [one, torch.stack([two, three])], settings())
    with pytest.raises(InputError, match="image values"):
        in_between_clip(model, [one, two * float("nan")], settings())


def test_a_model_that_goes_round_objects_is_refused() -> None:
    with pytest.raises(InputError, match="goes by motion"):
        in_between(random_model(SMALL_ORBIT), pictures(2))


def test_a_fingerprint_is_taken_only_where_gaps_are_kept(model: Networks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_module, "base_fingerprint", lambda unet: pytest.fail("taken for nothing"))
    in_between(model, pictures(2))
