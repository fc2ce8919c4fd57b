"""The pipeline on small random models: batches, seeds, plans, and everything that may go wrong on the way."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import pytest
import torch
from torch import Tensor

from svd_core import pipeline
from svd_core.errors import Cancelled, InputError, NumericsError, OutOfMemoryError
from svd_core.pipeline import Watch, animate, animate_clips, animate_latents
from svd_core.sampling import Stream, clip_generator
from svd_core.settings import AnimateSettings, Start
from svd_core.types import Frames, StepInfo
from svd_core.unet import FAST, LEAN, LEANEST, HoistedUNet
from tests.models import SMALL, SMALL_ORBIT, Networks, random_model
from tests.tolerances import relative_l2

BATCH_LIMIT = 1e-5
ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="module")
def model() -> Networks:
    return random_model(SMALL)


def pictures(count: int, height: int = 24, width: int = 32) -> list[Tensor]:
    generator = torch.Generator().manual_seed(5)
    return [torch.rand(height, width, 3, generator=generator) for _ in range(count)]


def latents_of(model: Networks, images: list[Tensor], watch: Watch = pipeline.SILENT, plan=None, **settings) -> Tensor:
    return animate_latents(model, images, AnimateSettings(**settings), plan=plan, watch=watch)[0]


@pytest.mark.parametrize("solver", ["euler", "euler_ancestral", "heun", "dpmpp_2m", "animatelcm"])
def test_two_clips_in_one_batch_equal_each_alone(model: Networks, solver: str) -> None:
    images = pictures(2)
    own = {"motion_bucket": [20.0, 200.0], "guidance": ["linear:1:3", "constant:0.5"], "fps": [6, 12]}
    common = {"steps": 5, "solver": solver}
    together = latents_of(model, images, seed=4, **own, **common)
    for index in range(2):
        settings = {name: values[index] for name, values in own.items()}
        alone = latents_of(model, images[index : index + 1], seed=4 + index, **settings, **common)
        error = relative_l2(together[index], alone[0])
        assert error <= BATCH_LIMIT, f"clip {index}: {error:.2e}, limit {BATCH_LIMIT:.0e}"
        stranger = relative_l2(together[1 - index], alone[0])
        assert stranger > 0.05, "the comparison cannot tell the two clips apart"


def test_one_clips_settings_leave_the_other_alone(model: Networks) -> None:
    images = pictures(2)
    before = latents_of(model, images, seed=4)
    after = latents_of(model, [images[0], images[1].flip(0)], seed=[4, 99], guidance=["linear:1:1.5", "3"])
    assert relative_l2(after[0], before[0]) <= BATCH_LIMIT
    assert relative_l2(after[1], before[1]) > 0.05


@pytest.mark.parametrize("plan", [LEAN, LEANEST])
def test_plans_differ_by_rounding_only(model: Networks, plan) -> None:
    fast = latents_of(model, pictures(1), plan=FAST, guidance="linear:0.5:2")
    error = relative_l2(latents_of(model, pictures(1), plan=plan, guidance="linear:0.5:2"), fast)
    assert error <= BATCH_LIMIT, f"{error:.2e}"


@pytest.mark.parametrize(("guidance", "rows"), [("1", 4), ("0.5", 8), ("linear:0.2:1", 8), ("linear:1:2", 8)])
def test_unconditional_half_runs_unless_every_weight_is_one(
    model: Networks, monkeypatch: pytest.MonkeyPatch, guidance: str, rows: int
) -> None:
    seen: set[int] = set()
    right = HoistedUNet.__call__

    def counting(self: HoistedUNet, x: Tensor, c_noise: Tensor) -> Tensor:
        seen.add(x.shape[0])
        return right(self, x, c_noise)

    monkeypatch.setattr(HoistedUNet, "__call__", counting)
    latents_of(model, pictures(1), guidance=guidance, plan=FAST, steps=1)
    assert seen == {rows}


def test_guidance_zero_ignores_the_picture(model: Networks) -> None:
    """Weights below 1 are honoured: at 0 the result is the unconditional one, whatever the picture."""
    first, second = (latents_of(model, [image], guidance="0") for image in pictures(2))
    assert relative_l2(first, second) <= BATCH_LIMIT
    other = [latents_of(model, [image], guidance="1") for image in pictures(2)]
    assert relative_l2(*other) > 0.05


_ELSEWHERE = """
import hashlib, torch
torch.set_num_threads(1)
from svd_core.pipeline import animate
from tests.models import SMALL, random_model
from tests.unit.test_pipeline import pictures
clip = animate(random_model(SMALL), pictures(1)[0], seed=21, solver="euler_ancestral")
print(hashlib.sha256(clip.pixels.numpy().tobytes()).hexdigest())
"""


def test_same_seed_same_bytes_across_processes(model: Networks) -> None:
    torch.set_num_threads(1)
    here = [animate(model, pictures(1)[0], seed=seed, solver="euler_ancestral").pixels for seed in (21, 21, 22)]
    hashes = [hashlib.sha256(pixels.numpy().tobytes()).hexdigest() for pixels in here]
    elsewhere = subprocess.run([sys.executable, "-c", _ELSEWHERE], capture_output=True, text=True, cwd=ROOT)
    assert elsewhere.returncode == 0, elsewhere.stderr
    assert hashes[0] == hashes[1], "the same call twice in one process"
    assert hashes[0] == elsewhere.stdout.strip(), "another process"
    assert hashes[0] != hashes[2]


def test_given_noise_is_the_seeds_own(model: Networks) -> None:
    noise = torch.randn(4, 8, 6, 8, generator=clip_generator(9, Stream.LATENT))
    assert torch.equal(
        latents_of(model, pictures(1), seed=9), latents_of(model, pictures(1), seed=9, noise=noise.clone())
    )


def test_one_picture_gives_frames_and_several_a_list(model: Networks) -> None:
    first, second = pictures(2)
    one = animate(model, first, playback_fps=12)
    assert isinstance(one, Frames) and one.fps == Fraction(12)
    assert one.pixels.shape == (4, 24, 32, 3) and one.pixels.dtype == torch.float32
    assert float(one.pixels.min()) >= 0 and float(one.pixels.max()) <= 1
    for several in ([first, second], torch.stack([first, second])):
        clips = animate(model, several)
        assert isinstance(clips, list) and len(clips) == 2
        # Pixels are differences of large numbers in a random decoder: compare in levels of an 8-bit file.
        assert float((clips[0].pixels - animate(model, first).pixels).abs().max()) < 1 / 255
    assert isinstance(animate(model, [first]), list)


@pytest.mark.parametrize("size", [(4, 4), (20, 36), (52, 12)])
@pytest.mark.parametrize("frames", [1, 3])
def test_any_size_on_the_grid_and_any_length(model: Networks, size: tuple[int, int], frames: int) -> None:
    clip = animate(model, pictures(1, 50, 70)[0], size=size, frames=frames, steps=1)
    assert clip.pixels.shape == (frames, size[1], size[0], 3)


def test_sizes_off_the_grid_are_refused_before_anything_runs(model: Networks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "condition", None)
    with pytest.raises(InputError, match="nearest sizes are 32x24 or 36x28"):
        animate(model, pictures(1)[0], size=(33, 25))
    with pytest.raises(InputError, match=r"static.*pan_left.*handheld"):
        animate(model, pictures(1)[0], camera=("pan_lef",))
    with pytest.raises(InputError, match="at least one picture"):
        animate(model, [])


def test_angles_reach_a_model_that_knows_them() -> None:
    model = random_model(SMALL_ORBIT)
    turntable = latents_of(model, pictures(1))
    high = latents_of(model, pictures(1), orbit=pipeline.Orbit.turntable(4, elevation=60.0))
    assert relative_l2(high, turntable) > 1e-3


def test_transparency_and_background(model: Networks) -> None:
    clear = torch.zeros(24, 32, 4)
    black, white = (latents_of(model, [clear], background=(grey,) * 3) for grey in (0.0, 1.0))
    assert torch.equal(black, latents_of(model, [torch.zeros(24, 32, 3)]))
    assert torch.equal(white, latents_of(model, [torch.ones(24, 32, 3)]))


def test_starting_from_a_latent_keeps_it_at_low_noise(model: Networks) -> None:
    latents = torch.randn(4, 8, 6, 8, generator=torch.Generator().manual_seed(1))
    near = latents_of(model, pictures(1), start=Start(latents=latents, sigma=0.03))
    far = latents_of(model, pictures(1), start=Start(latents=latents, sigma=60.0))
    assert relative_l2(near[0], latents) < 0.1 < relative_l2(far[0], latents)


def test_progress_of_both_stages_and_cancelling(model: Networks) -> None:
    steps: list[StepInfo] = []
    decoded: list[tuple[int, int]] = []
    animate(model, pictures(1)[0], on_step=steps.append, on_decode=lambda done, total: decoded.append((done, total)))
    assert [step.index for step in steps] == [0, 1, 2]
    assert decoded == sorted(decoded) and decoded[0] == (0, 4) and decoded[-1] == (4, 4)

    def stop(*_: object) -> None:
        raise Cancelled("stopped by the user")

    for callback in ("on_step", "on_decode"):
        with pytest.raises(Cancelled):
            animate(model, pictures(1)[0], **{callback: stop})


def test_damaged_weights_name_the_stage() -> None:
    broken = random_model(SMALL)
    with torch.no_grad():
        broken.unet.out[2].bias[0] = float("nan")
    with pytest.raises(NumericsError, match=r"after step 1 of 3 \(sigma 80\)"):
        animate(broken, pictures(1)[0])


def test_out_of_memory_is_retried_once_and_said(model: Networks, monkeypatch: pytest.MonkeyPatch) -> None:
    right = HoistedUNet.__call__
    full: list[object] = [FAST]

    def tight(self: HoistedUNet, x: Tensor, c_noise: Tensor) -> Tensor:
        if self.plan in full:
            raise RuntimeError("CUDA out of memory. Tried to allocate 9.00 GiB")
        return right(self, x, c_noise)

    expected = latents_of(model, pictures(1), plan=LEAN)
    monkeypatch.setattr(HoistedUNet, "__call__", tight)
    notices: list[str] = []
    retried = latents_of(model, pictures(1), plan=FAST, watch=Watch(on_notice=notices.append))
    assert torch.equal(retried, expected) and len(notices) == 1 and "9.00 GiB" in notices[0]
    full.append(LEAN)
    with pytest.raises(OutOfMemoryError, match="smaller size"):
        latents_of(model, pictures(1), plan=FAST)


@pytest.mark.parametrize(("dtype", "limit"), [(torch.bfloat16, 0.05), (torch.float16, 0.01)])
def test_half_precision_networks_keep_float32_latents(dtype: torch.dtype, limit: float) -> None:
    full, half = random_model(SMALL), random_model(SMALL)
    half.unet.to(dtype)
    expected, result = latents_of(full, pictures(1)), latents_of(half, pictures(1))
    error = relative_l2(result, expected)
    assert result.dtype == torch.float32
    assert 1e-6 < error < limit, f"{dtype}: {error:.2e}, limit {limit}"


def test_encoding_out_of_memory_is_a_sentence(model: Networks, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(pipeline, "condition", full)
    with pytest.raises(OutOfMemoryError, match="enough memory for encoding the picture"):
        animate(model, pictures(1)[0])


def test_decoding_out_of_memory_goes_on_in_smaller_pieces(model: Networks, monkeypatch: pytest.MonkeyPatch) -> None:
    """Smaller pieces change the frames a little, hence the notice; asked for outright they are the same bytes."""
    latents, _ = animate_latents(model, pictures(1), AnimateSettings(frames=9))
    expected = pipeline.decode_latents(model, latents)[0]
    right, asked = pipeline.stream_clip, []

    def tight(*arguments: object, **options: int):
        asked.append((options["chunk"], options["tile"]))
        if options["chunk"] > 2:
            raise RuntimeError("CUDA out of memory. Tried to allocate 3.00 GiB")
        return right(*arguments, **options)

    monkeypatch.setattr(pipeline, "stream_clip", tight)
    notices: list[str] = []
    retried = pipeline.decode_latents(model, latents, watch=Watch(on_notice=notices.append))[0]
    assert asked == [(8, None), (2, 48)] and len(notices) == 1 and "decoding" in notices[0]
    error = float((retried - expected).abs().mean())
    assert 0 < error < 0.1, f"mean difference {error:.3f}"
    monkeypatch.setattr(pipeline, "stream_clip", right)
    assert torch.equal(retried, pipeline.decode_latents(model, latents, chunk=2, tile=48)[0])


def test_settings_travel_with_the_latents(model: Networks) -> None:
    latents, resolved = animate_latents(model, pictures(2), AnimateSettings(seed=3, fps=[5, 9]))
    assert latents.shape == (2, 4, 8, 6, 8) and resolved.seeds == (3, 4)
    clips = animate_clips(model, pictures(2), AnimateSettings(seed=3, fps=[5, 9]))
    assert [clip.fps for clip in clips] == [5, 9]


def test_memory_that_ends_before_the_networks_start(model: Networks, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1279795208192 bytes.")

    monkeypatch.setattr(pipeline, "resolve", refuse)
    with pytest.raises(OutOfMemoryError, match="preparing the clip"):
        animate_latents(model, pictures(1), AnimateSettings())
