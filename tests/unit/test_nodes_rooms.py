"""The rooms on a fake host: what they hand on, clip by clip, and what they say."""

from __future__ import annotations

import base64
from io import BytesIO
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from PIL import Image

from tests.fake_host import FakeHost, on_fake_host
from tests.rooms import CHOICE, FRAMES, FakeClipVision, FakeVae, condition, pictures, refusal, sampled, svd_model


@pytest.fixture(scope="module")
def pack() -> tuple[FakeHost, Any]:
    return on_fake_host()


def test_every_input_of_every_node_explains_itself(pack: tuple[FakeHost, Any]) -> None:
    for node in pack[1]("nodes").NODES:
        schema = node.define_schema()
        assert schema.description, schema.node_id
        for entry in schema.inputs:
            assert len(entry.tooltip) > 15, f"{schema.node_id}.{entry.id}"


def test_lists_that_spare_an_import_agree_with_the_core(pack: tuple[FakeHost, Any]) -> None:
    _, load = pack
    assert load("nodes.conditioning_parts").FRAMINGS == load("svd_core.framing").FRAMINGS
    assert load("nodes.in_between")._METHODS == load("svd_core.sampling").BETWEEN_METHODS
    suffixes = load("svd_core.video_io").CLIP_SUFFIXES
    assert {f".{kind}" for kind in load("nodes.save")._FORMATS} == {*suffixes, ".png"}


def test_seeds_and_ranks_have_one_range_each(pack: tuple[FakeHost, Any]) -> None:
    """What a generator takes, but for the seeds that come from the host's own nodes, which go further."""
    from svd_core.cli.train_camera import RANKS as ASKED
    from svd_core.seeds import LAST_SEED
    from svd_core.training.camera_layers import RANKS

    host_s = pack[1]("nodes.conditioning_parts").MAX_SEED
    seen: dict[int, set[str]] = {}
    for node in pack[1]("nodes").NODES:
        for entry in node.define_schema().inputs:
            if entry.id.endswith("seed"):
                seen.setdefault(entry.max, set()).add(node.__name__)
            if entry.id == "rank":
                assert (entry.min, entry.max) == RANKS == ASKED
                assert f"{RANKS[0]} to {RANKS[1]}" in entry.tooltip
    assert set(seen) == {LAST_SEED, host_s}
    assert seen[LAST_SEED] == {"SVDStudioTrainCameraLora", "SVDStudioSweepPlan", "SVDStudioCameraMove"}


def test_values_for_each_clip_or_frame_go_to_theirs(pack: tuple[FakeHost, Any]) -> None:
    clips = pack[1]("nodes.clips")
    values = {"fps": [6, 12], "motion_bucket_id": torch.arange(6.0), "augmentation_level": 0.1, "strength": 1.0}
    told = [[torch.arange(4.0).reshape(2, 1, 2), values]]
    ((tokens, second),) = clips.one_clip(told, 1, 2)
    assert tokens.tolist() == [[[2, 3]]]
    assert second["fps"] == 12 and second["motion_bucket_id"].tolist() == [3, 4, 5]
    assert second["augmentation_level"] == 0.1 and second["strength"] == 1.0
    assert values["fps"] == [6, 12], "the conditioning itself was changed"


CHOICES = {
    "condition": ({"size": "huge", "framing": "crop"}, "auto, manual"),
    "guidance": ({"shape": "round", "points": None}, "constant, linear"),
    "in_between": (
        {"method": "vibid", "size": "auto", "framing": "fold", "schedule": "karras", "guidance": None},
        "crop, pad",
    ),
    "sample": ({"solver": "euler", "schedule": "fast"}, "karras"),
    "orbit": ({"framing": "pad", "elevation": "0", "azimuth": None, "convention": "z"}, "sv3d, comfyui"),
    "load": ({"model": None, "dtype": "int8"}, "auto, float32"),
    "info": ({"file": "lost.safetensors"}, "no 'lost.safetensors'"),
}


@pytest.mark.parametrize("room", CHOICES)
def test_words_that_no_list_has_are_refused_before_it_runs(pack: tuple[FakeHost, Any], room: str) -> None:
    module = pack[1](f"nodes.{room}")
    (node,) = [entry for name, entry in vars(module).items() if name.startswith("SVDStudio")]
    inputs, words = CHOICES[room]
    assert words in node.validate_inputs(**inputs)
    assert node.validate_inputs(**dict.fromkeys(inputs)) is True, "what is not known yet passes"


def test_a_huge_picture_is_refused_before_it_is_copied(pack: tuple[FakeHost, Any]) -> None:
    huge = torch.zeros(1, 1, 1, 1).expand(1, 20000, 20000, 3)
    with pytest.raises(refusal(pack), match="found 20000x20000"):
        condition(pack, huge)
    with pytest.raises(refusal(pack), match="1000 frames of 8192x8192"):
        condition(pack, torch.rand(1, 9, 9, 3), size="manual", width=8192, height=8192, frames=1000)


def test_a_checkpoint_without_image_encoder_is_refused(pack: tuple[FakeHost, Any]) -> None:
    room = pack[1]("nodes.condition").SVDStudioImageConditioning
    with pytest.raises(refusal(pack), match="`clip_vision` of an SVD checkpoint; found nothing"):
        room.execute(clip_vision=None, vae=FakeVae(), image=pictures(1), **CHOICE)


def test_a_batch_of_pictures_is_as_many_clips(pack: tuple[FakeHost, Any]) -> None:
    images = pictures(2)
    positive, negative, latent, fps, summary = condition(pack, images)
    (tokens, values), (nothing, without) = positive[0], negative[0]
    assert tokens.shape == (2, 1, 3) and not nothing.any()
    assert values["concat_latent_image"].shape == (2, 4, 8, 8) and not without["concat_latent_image"].any()
    assert latent["samples"].shape == (2 * FRAMES, 4, 8, 8)
    assert (values["fps"], values["motion_bucket_id"], values["augmentation_level"]) == (8, 127, 0.1)
    assert fps == 8.0 and "64x64" in summary and "2 clips, seeds 5 to 6" in summary
    alone = condition(pack, images[1:], seed=6)[0][0]
    torch.testing.assert_close(values["concat_latent_image"][1:], alone[1]["concat_latent_image"])


def test_augmentation_is_seeded_and_takes_transparency(pack: tuple[FakeHost, Any]) -> None:
    image = pictures(1, channels=4)
    first, again, other = (condition(pack, image, seed=seed)[0][0][1] for seed in (5, 5, 6))
    assert torch.equal(first["concat_latent_image"], again["concat_latent_image"])
    assert not torch.equal(first["concat_latent_image"], other["concat_latent_image"])


def test_the_size_follows_the_picture_unless_it_is_set(pack: tuple[FakeHost, Any]) -> None:
    wide = torch.rand(1, 90, 160, 3)
    auto = condition(pack, wide, width=1024, height=576)[2]["samples"]
    assert auto.shape[-2:] == (72, 128)
    assert condition(pack, wide, size="manual")[2]["samples"].shape[-2:] == (8, 8)
    with pytest.raises(refusal(pack), match="multiples of 8"):
        condition(pack, wide, size="manual", width=60)


def test_motion_may_change_over_the_clip(pack: tuple[FakeHost, Any]) -> None:
    positive, _, _, fps, text = condition(pack, pictures(1), motion_points="0:40, 1:160", fps_points="0:6, 1:10")
    values = positive[0][1]
    assert values["svd_studio_motion_bucket_per_frame"] == [40, 100, 160]
    assert values["svd_studio_fps_per_frame"] == [6, 8, 10]
    assert values["motion_bucket_id"] == 100 and values["fps"] == 8, "what other models go by"
    assert fps == 8.0 and "motion_bucket 40 to 160" in text and "others go by the mean" in text
    for wrong in ({"motion_points": "0:40, 1:2000"}, {"motion_points": "fast"}, {"fps_points": "0:0"}):
        with pytest.raises(refusal(pack), match=next(iter(wrong)).removesuffix("_points")):
            condition(pack, pictures(1), **wrong)


def test_an_orbit_is_told_frame_by_frame(pack: tuple[FakeHost, Any]) -> None:
    room = pack[1]("nodes.orbit").SVDStudioOrbit
    choice = {"width": 64, "height": 64, "framing": "pad", "frames": 4, "elevation": "0:0, 1:30", "azimuth": ""}
    choice |= {"convention": "sv3d", "fps": 7.0, "augmentation": 0.0, "seed": 0}
    cut_out = torch.zeros(1, 32, 16, 4)
    positive, negative, latent, fps, text = room.execute(FakeClipVision(), FakeVae(), cut_out, **choice).result
    for half in (positive, negative):
        assert half[0][1]["azimuth"] == [90, 180, 270, 0]
        assert half[0][1]["elevation"] == pytest.approx([0, 10, 20, 30])
    assert latent["samples"].shape == (4, 4, 8, 8) and fps == 7.0
    assert "frame 4 of 4 is the picture's own view" in text and "90 degrees from the first" in text
    assert float(positive[0][1]["concat_latent_image"].min()) == 1, "transparency and bars are not white"
    assert room.validate_inputs("pad", "10", "0:0, 1:90", "sv3d") is True
    assert "`elevation`" in room.validate_inputs("pad", "steep", None, None)


@pytest.mark.parametrize("image", [torch.rand(1, 1, 1, 3), torch.full((1, 16, 16, 3), torch.nan)], ids=["1x1", "NaN"])
def test_impossible_pictures_are_a_sentence(pack: tuple[FakeHost, Any], image: torch.Tensor) -> None:
    with pytest.raises(refusal(pack), match=r"Expected .*; found .*\. "):
        condition(pack, image)


def test_clips_of_a_batch_equal_those_sampled_alone(pack: tuple[FakeHost, Any]) -> None:
    images = pictures(2)
    pack[0].steps.clear()
    both = sampled(pack, images, 5)
    assert pack[0].steps == list(range(1, 9))
    for index in (0, 1):
        alone = sampled(pack, images[index : index + 1], 5 + index)
        assert torch.equal(both[index * FRAMES : (index + 1) * FRAMES], alone)
    assert not torch.allclose(both[:FRAMES], both[FRAMES:])


def test_every_clip_is_shown_as_an_animation(pack: tuple[FakeHost, Any]) -> None:
    host = pack[0]
    host.previews = True
    host.sent.clear()
    try:
        sampled(pack, pictures(2), 5)
    finally:
        host.previews = False
    last = [message for message in host.sent if message["step"] == message["steps"]]
    assert [(message["clip"], message["clips"], message["fps"]) for message in last] == [(0, 2, 8.0), (1, 2, 8.0)]
    kind, _, data = last[-1]["image"].partition(",")
    with Image.open(BytesIO(base64.b64decode(data))) as shown:
        assert kind == "data:image/webp;base64" and shown.format == "WEBP"
        assert (getattr(shown, "n_frames", 1), shown.size) == (FRAMES, (8, 8))
    assert {message["event"] for message in host.sent} == {"svd_studio.preview"}


def test_the_schedule_covers_the_range_the_model_means(pack: tuple[FakeHost, Any]) -> None:
    sampling = pack[1]("nodes.sampling")
    chosen = sampling.Sampling(seed=0, steps=5, cfg=1.0, solver="euler", schedule="karras")
    expected = pack[1]("svd_core.sampling").make_schedule("karras", 5, 0.02, 80.0)
    assert torch.equal(sampling.sigmas_for(svd_model(pack), chosen), expected)


def test_cancelling_stops_before_the_next_call(pack: tuple[FakeHost, Any]) -> None:
    pack[0].steps.clear()
    pack[0].cancelled = True
    try:
        with pytest.raises(KeyboardInterrupt):
            sampled(pack, pictures(1), 5)
    finally:
        pack[0].cancelled = False
    assert not pack[0].steps


def test_other_families_and_other_latents_are_refused(pack: tuple[FakeHost, Any]) -> None:
    room = pack[1]("nodes.sample").SVDStudioSampler
    positive, negative, latent, *_ = condition(pack, pictures(1))
    choice = {"seed": 0, "steps": 1, "cfg": 1.0, "solver": "euler", "schedule": "karras"}
    with pytest.raises(refusal(pack), match="SVD family"):
        room.execute(SimpleNamespace(model=object()), positive, negative, latent, **choice)
    text = [[torch.zeros(1, 77, 768), {}]]
    with pytest.raises(refusal(pack), match="`negative` of 3 channels; found 768"):
        room.execute(svd_model(pack), positive, text, latent, **choice)
    with pytest.raises(refusal(pack), match="camera angles in `positive`"):
        room.execute(svd_model(pack, vector=1280), positive, negative, latent, **choice)
    short = latent | {"samples": latent["samples"][:2]}
    with pytest.raises(refusal(pack), match="whole clips of 3"):
        room.execute(svd_model(pack), positive, negative, short, **choice)
    video = {"samples": torch.zeros(1, 4, 2, 8, 8)}
    with pytest.raises(refusal(pack), match="four axes"):
        room.execute(svd_model(pack), positive, negative, video, **choice)


def test_guidance_runs_over_each_clip_by_itself(pack: tuple[FakeHost, Any]) -> None:
    room = pack[1]("nodes.guidance").SVDStudioGuidance
    put: list[Any] = []
    model = svd_model(pack)
    patched = SimpleNamespace(
        set_model_sampler_cfg_function=lambda function, disable_cfg1_optimization: put.append(
            (function, disable_cfg1_optimization)
        )
    )
    model.clone = lambda: patched
    assert room.execute(model, "linear", 1.0, 3.0).result == (patched,)
    ((guide, both_halves),) = put
    assert both_halves, "at cfg 1 the host would skip the unconditional half"
    ones, zeros = torch.ones(6, 1, 1, 1), torch.zeros(6, 1, 1, 1)
    args = {"cond": ones, "uncond": zeros, "cond_scale": 9.0}
    assert guide(args | {"input_cond": [{"svd_studio_frames": 3}]}).flatten().tolist() == [1, 2, 3, 1, 2, 3]
    assert guide(args | {"input_cond": [{}]}).flatten().tolist() == pytest.approx([1, 1.4, 1.8, 2.2, 2.6, 3])
