"""Training-free moves: parallax against geometry, corrections of the camera, and the pipeline that runs both."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from svd_core.camera.adapter import Adapter
from svd_core.camera.fallback import between, chart, corrected, levels, start_from, steer
from svd_core.camera.meter import measure
from svd_core.camera.parallax import DEPTH_RANGE, nearness
from svd_core.camera.path import CameraMotion, CameraPath, differentiate, integrate
from svd_core.camera.presets import FIELD_OF_VIEW
from svd_core.camera.stack import CameraStack, Move, Plan, find_nothing, join, resolve
from svd_core.camera.stack_text import parse_moves
from svd_core.camera.virtual import render
from svd_core.errors import InputError
from svd_core.pipeline import Watch, animate, animate_latents
from svd_core.settings import AnimateSettings, Start
from svd_core.settings import resolve as resolve_settings
from svd_core.types import Frames, StepInfo
from svd_core.unet import VideoUNet
from tests.deltas import random_lora
from tests.models import SMALL, Networks, random_model

FPS = 8.0
SIDE = 96


def plan_of(*words: str, frames: int = 9, depth: bool = False) -> Plan:
    return resolve(parse_moves(words), frames, FPS, None, depth=depth)


def texture(height: int, width: int, seed: int = 0) -> Tensor:
    """Smooth noise `3 H W`, in which the meter finds its way."""
    noise = torch.rand(1, 3, height // 6, width // 6, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.interpolate(noise, (height, width), mode="bicubic").clamp(0, 1)[0]


def two_layers() -> tuple[Tensor, Tensor]:
    """A red near square before a blue wall with a green far square: picture and depth image, white is near."""
    picture = torch.zeros(3, SIDE, SIDE)
    picture[2] = 0.5
    picture[0, 58:74, 40:56], picture[2, 58:74, 40:56] = 1, 0
    picture[1, 20:36, 40:56], picture[2, 20:36, 40:56] = 1, 0
    depth = torch.zeros(SIDE, SIDE)
    depth[58:74, 40:56] = 1
    return picture, depth


def places(view: Tensor, channel: int) -> tuple[Tensor, float]:
    """Centre (x, y) from the middle of the frame and root area of what is bright in a channel."""
    weight = (view[channel] - view[2] > 0.5).float()
    grid = torch.arange(view.shape[-1]) + 0.5 - view.shape[-1] / 2
    total = weight.sum()
    return torch.stack(((weight.sum(0) * grid).sum(), (weight.sum(1) * grid).sum())) / total, float(total.sqrt())


@pytest.mark.parametrize(("preset", "axis", "sign"), [("truck_right", 0, -1), ("pedestal_up", 1, 1)])
def test_near_things_pass_faster_as_their_distance_says(preset: str, axis: int, sign: int) -> None:
    picture, depth = two_layers()
    views = chart(picture, plan_of(f"{preset}:16", depth=True), depth).frames
    near, far = (places(views[-1], channel)[0] - places(views[0], channel)[0] for channel in (0, 1))
    assert float(near[axis]) == pytest.approx(sign * 0.16 * SIDE, rel=0.05), "the nearest move by the amount"
    assert float(near[axis] / far[axis]) == pytest.approx(DEPTH_RANGE, rel=0.2)
    assert abs(float(near[1 - axis])) < 0.3 and abs(float(far[1 - axis])) < 0.3
    # What the square uncovers is wall, not a smear of it.
    first, last = (view[0] - view[2] > 0.5 for view in (views[0], views[-1]))
    assert int(last.sum()) == pytest.approx(int(first.sum()), rel=0.08)


def test_a_dolly_magnifies_what_is_near_more() -> None:
    picture, depth = two_layers()
    views = chart(picture, plan_of("dolly_in:30", depth=True), depth).frames
    (near, near_size), (far, far_size) = (places(views[-1], channel) for channel in (0, 1))
    (near_0, near_size_0), (far_0, far_size_0) = (places(views[0], channel) for channel in (0, 1))
    moved = 1 - math.exp(-0.3)
    assert near_size / near_size_0 == pytest.approx(math.exp(0.3), rel=0.06)
    assert far_size / far_size_0 == pytest.approx(DEPTH_RANGE / (DEPTH_RANGE - moved), rel=0.06)
    assert float(near[1] / near_0[1]) > float(far[1] / far_0[1]) > 1


def test_an_orbit_keeps_its_pivot_and_turns_what_lies_before_and_behind_apart() -> None:
    picture, depth = two_layers()
    depth[32:64, 32:64] = torch.maximum(depth[32:64, 32:64], torch.tensor(0.3))  # the middle, round which it goes
    depth[20:36, 40:56] = 0
    degrees = 3.0
    views = chart(picture, plan_of(f"orbit_right:{degrees:g}", depth=True), depth).frames
    near, far = (float((places(views[-1], channel)[0] - places(views[0], channel)[0])[0]) for channel in (0, 1))
    focal = SIDE / 2 / math.tan(math.radians(FIELD_OF_VIEW / 2))
    pivot = DEPTH_RANGE / (1 + float(depth[32:-32, 32:-32].median()) * (DEPTH_RANGE - 1))
    for found, z in ((near, 1.0), (far, DEPTH_RANGE)):
        angle, beyond = math.radians(degrees), z - pivot
        expected = focal * math.sin(angle) * beyond / (pivot + math.cos(angle) * beyond)
        assert found == pytest.approx(expected, rel=0.2, abs=0.5)
    assert near <= 0 <= far


def test_depth_images_of_any_size_and_range() -> None:
    ramp = torch.linspace(3, 7, 20).expand(10, 20)
    for depth in (ramp, ramp[None], ramp[..., None].expand(10, 20, 3), ramp[None, ..., None].expand(1, 10, 20, 3)):
        near = nearness(depth, 30, 40)
        assert near.shape == (30, 40) and float(near[:, 0].max()) < 0.05 and float(near[:, -1].min()) > 0.95
    for bad in (torch.zeros(10, 20), torch.full((10, 20), math.nan), torch.zeros(2, 10, 20, 3), torch.zeros(4)):
        with pytest.raises(InputError, match="depth"):
            nearness(bad, 30, 40)


def test_without_depth_the_source_moves_as_the_virtual_camera_draws_it() -> None:
    source, plan = texture(48, 60), plan_of("pan_left:10", "zoom_in:6")
    course = chart(source, plan)
    assert plan.planar is not None
    assert course.motion is plan.planar and course.moving
    path = integrate(plan.planar, 48, 60)
    expected = render(source, CameraPath(**{n: getattr(path, n).float() for n in AXES}), (48, 60), whole=True)[0]
    assert torch.equal(course.frames, expected)
    assert torch.allclose(course.frames[0], source, atol=1e-5)


AXES = ("pan", "tilt", "zoom", "roll")


def test_between_undoes_one_path_and_makes_another() -> None:
    generator = torch.Generator().manual_seed(2)
    have, want = (
        CameraPath(**{name: 8 * torch.randn(5, generator=generator, dtype=torch.float64) for name in AXES})
        for _ in range(2)
    )
    relative = between(have, want, 50, 80)
    for name in AXES:
        assert torch.allclose(
            getattr(between(have, have, 50, 80), name), torch.zeros(5, dtype=torch.float64), atol=1e-9
        )
    # A step from `have` to `want` on each frame is the motion of the two-frame path through both.
    for frame in range(5):
        both = CameraPath(**{n: torch.stack((getattr(have, n)[frame], getattr(want, n)[frame])) for n in AXES})
        seen = CameraPath(**{n: torch.stack((torch.zeros(()).double(), getattr(relative, n)[frame])) for n in AXES})
        for name in AXES:
            found, expected = (getattr(differentiate(path, 50, 80), name) for path in (seen, both))
            assert torch.allclose(found, expected, atol=1e-9), name


def test_a_wrong_camera_is_corrected_and_the_subject_left_alone() -> None:
    wrong = plan_of("pan_right:6", "roll_cw:4").planar
    wanted = plan_of("pan_left:10").planar
    assert wrong is not None and wanted is not None
    path = integrate(wrong, 96, 128)
    clip = render(texture(200, 260), CameraPath(**{n: getattr(path, n).float() for n in AXES}), (96, 128))[0]
    track = measure(corrected(clip, wanted).permute(0, 2, 3, 1))
    assert track.mean["pan"] == pytest.approx(-10 / FPS, abs=0.1)
    assert abs(track.mean["roll"]) < 0.05 and abs(track.mean["tilt"]) < 0.1 and abs(track.mean["zoom"]) < 0.1


def test_levels_grow_with_the_picture_and_with_freedom() -> None:
    small, large = levels(8, 8), levels(72, 128)
    assert large.start / small.start == pytest.approx(math.sqrt(72 * 128) / 8)
    assert levels(8, 8, 2.0).steer == 2 * small.steer and small.steer < small.start
    for bad in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(InputError, match="freedom"):
            levels(8, 8, bad)


def test_starts_are_the_encoded_pictures() -> None:
    def encode(pixels: Tensor) -> Tensor:
        assert float(pixels.min()) < 0, "pixels in [-1, 1]"
        return pixels[:, :, ::8, ::8]

    course = chart(texture(48, 64), plan_of("tilt_up"))
    start = start_from(course, encode)
    assert start is not None and torch.equal(start.latents, (course.frames * 2 - 1)[:, :, ::8, ::8])
    assert start.sigma == levels(6, 8).start
    still = chart(texture(48, 64), plan_of("static"))
    assert start_from(still, encode) is None
    rough = Frames(course.frames.permute(0, 2, 3, 1), fps=8)  # type: ignore[arg-type]
    again = steer(rough, still, encode)
    assert again.sigma == levels(6, 8).steer
    held = measure(((again.latents + 1) / 2).permute(0, 2, 3, 1).repeat_interleave(8, 1).repeat_interleave(8, 2))
    assert held.frames == 9


def test_too_small_clips_and_plans_without_a_fallback_are_refused() -> None:
    with pytest.raises(InputError, match="pixels a side"):
        chart(texture(18, 60), plan_of("pan_left"))
    with pytest.raises(InputError, match="training-free"):
        chart(texture(48, 60), Plan())


# The pipeline.


@pytest.fixture(scope="module")
def model() -> Networks:
    return random_model(SMALL)


def latents_of(model: Networks, watch: Watch | None = None, **settings: object) -> Tensor:
    picture = texture(24, 32).permute(1, 2, 0)
    asked = AnimateSettings(frames=4, steps=6, **settings)  # type: ignore[arg-type]
    return animate_latents(model, [picture], asked, watch=watch or Watch())[0]


def test_a_camera_without_training_runs_in_two_parts_of_one_schedule(model: Networks) -> None:
    told: list[StepInfo] = []
    notes: list[str] = []
    watch = Watch(on_step=told.append, on_notice=notes.append)
    camera = parse_moves(["pan_left:10"])
    made = latents_of(model, watch, camera=camera)
    assert torch.equal(made, latents_of(model, camera=camera)), "the same seed gives the same clip"
    assert not torch.equal(made, latents_of(model)) and not torch.equal(made, latents_of(model, camera=camera, seed=1))
    assert [step.index for step in told] == list(range(len(told))) and {step.total for step in told} == {len(told)}
    # Two levels drop exactly to zero: the rough clip's and the finished one's.
    sigmas = [step.sigma for step in told]
    rises = [index for index in range(1, len(sigmas)) if sigmas[index] >= sigmas[index - 1]]
    level = levels(24 // 4, 32 // 4)
    assert sigmas[0] == pytest.approx(level.start) and len(rises) == 1
    assert sigmas[rises[0]] == pytest.approx(level.steer)
    assert len(notes) == 1 and "approximate" in notes[0]


def test_holding_the_camera_begins_with_the_plain_clip(model: Networks) -> None:
    told: list[StepInfo] = []
    latents_of(model, Watch(on_step=told.append), camera=parse_moves(["static"]))
    assert told[0].sigma == pytest.approx(SMALL.sampling.sigma_max)


def test_step_ranges_count_over_the_whole_run_and_not_over_each_of_its_parts(
    model: Networks, monkeypatch: pytest.MonkeyPatch
) -> None:
    portions: list[float] = []
    at = Adapter.at

    def noted(adapter: Adapter, portion: float) -> None:
        portions.append(portion)
        at(adapter, portion)

    monkeypatch.setattr(Adapter, "at", noted)
    told: list[StepInfo] = []
    mixed = CameraStack((Move(preset="pan_left", amount=10.0), Move(lora=random_lora(model.unet, 3), amount=0.5)))
    latents_of(model, Watch(on_step=told.append), camera=mixed, find_lora=find_nothing)
    levels_asked = resolve_settings(AnimateSettings(frames=4, steps=6), SMALL, 1).sigmas.tolist()
    expected = [(sum(level >= step.sigma * (1 - 1e-5) for level in levels_asked[:-1]) - 1) / 6 for step in told]
    assert portions == expected and portions[0] > 0, "the first part starts in the middle of the schedule"
    assert max(portions) < 1


def test_loras_act_while_a_clip_is_sampled_and_leave_no_trace(model: Networks) -> None:
    plain = latents_of(model)
    lora = random_lora(model.unet, 3)
    assert isinstance(model.unet, VideoUNet)
    made = latents_of(model, camera=CameraStack((Move(lora=lora, amount=0.5),)))
    assert not torch.allclose(made, plain, atol=1e-3)
    assert torch.equal(latents_of(model), plain)
    assert torch.equal(latents_of(model, camera=CameraStack((Move(lora=lora, amount=0.0),))), plain)
    late = latents_of(model, camera=CameraStack((Move(lora=lora, amount=0.5, steps=(0.8, 1.0)),)))
    assert not torch.equal(late, made) and not torch.equal(late, plain)

    def stop(step: StepInfo) -> None:
        if step.index == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        latents_of(model, Watch(on_step=stop), camera=CameraStack((Move(lora=lora),)))
    assert torch.equal(latents_of(model), plain), "a cancelled run leaves nothing on the network"


def test_several_pictures_each_follow_the_camera(model: Networks) -> None:
    pictures = [texture(24, 32, seed).permute(1, 2, 0) for seed in (0, 1)]
    camera = parse_moves(["zoom_in:10"])
    both = animate_latents(model, pictures, AnimateSettings(frames=4, steps=4, camera=camera, seed=3))[0]
    alone = animate_latents(model, pictures[1:], AnimateSettings(frames=4, steps=4, camera=camera, seed=4))[0]
    assert torch.allclose(both[1], alone[0], atol=2e-3)


def test_bad_cameras_are_refused_before_anything_runs(model: Networks, monkeypatch: pytest.MonkeyPatch) -> None:
    from svd_core import pipeline

    monkeypatch.setattr(pipeline, "condition", None)
    picture = texture(24, 32).permute(1, 2, 0)
    start = Start(latents=torch.zeros(4, SMALL.autoencoder.latent_channels, 6, 8), sigma=1.0)
    for words, settings in (
        ("0-3", {"camera": ["pan_left:8:2-9"]}),
        ("depth", {"camera": ["truck_left"], "depth": torch.zeros(4, 4)}),
        ("start", {"camera": ["pan_left"], "start": start}),
        ("rate", {"camera": join(parse_moves(["pan_left"])), "fps": [5, 9]}),
    ):
        images = [picture, picture] if words == "rate" else picture
        with pytest.raises(InputError, match=words):
            animate(model, images, frames=4, find_lora=find_nothing, **settings)  # type: ignore[arg-type]


def test_motion_of_a_plan_is_what_was_asked() -> None:
    motion = plan_of("tilt_down:8", "roll_ccw:4").planar
    assert isinstance(motion, CameraMotion)
    assert motion.tilt.tolist() == [-1] * 8 and motion.roll.tolist() == [-0.5] * 8
