"""The rooms on a fake host: what they hand on, clip by clip, and what they say."""

from __future__ import annotations

import base64
import json
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from PIL import Image

from svd_core.video_io import read_metadata
from tests.fake_host import FakeHost, on_fake_host

FRAMES = 3


@pytest.fixture(scope="module")
def pack() -> tuple[FakeHost, Any]:
    return on_fake_host()


def refusal(pack: tuple[FakeHost, Any]) -> type[Exception]:
    return pack[1]("svd_core.errors").InputError


class FakeVae:
    """Eight-fold pooling as a VAE: `t c h w` of four channels."""

    downscale_ratio, latent_channels, latent_dim = 8, 4, 2
    vae_dtype, device, output_device, patcher = torch.float32, "cpu", "cpu", None

    def __init__(self) -> None:
        self.calls: list[tuple[int, ...]] = []
        self.fail_above = 10**9
        self.first_stage_model = SimpleNamespace(decode=self._decode, named_parameters=lambda: [("time_mix", None)])

    def encode(self, pixels: torch.Tensor) -> torch.Tensor:
        assert pixels.shape[-1] == 3, f"{pixels.shape[-1]} channels"
        pooled = torch.nn.functional.avg_pool2d(pixels.movedim(-1, 1), 8)
        return torch.cat([pooled, pooled.mean(1, keepdim=True)], 1)

    def _decode(self, latents: torch.Tensor) -> torch.Tensor:
        self.calls.append(tuple(latents.shape))
        if latents.shape[0] * latents.shape[2] > self.fail_above:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
        # Each frame is told from its neighbours, as by a temporal decoder.
        mixed = latents + 0.1 * torch.cat([latents[1:], latents[-1:]])
        return mixed[:, :3].repeat_interleave(8, 2).repeat_interleave(8, 3)

    def process_output(self, pixels: torch.Tensor) -> torch.Tensor:
        return ((pixels + 1) / 2).clamp(0, 1)


class FakeClipVision:
    def encode_image(self, pixels: torch.Tensor, crop: bool) -> Any:
        assert not crop, "the whole picture counts"
        return SimpleNamespace(image_embeds=pixels.mean((1, 2)))


CHOICE = {
    "size": "auto",
    "width": 64,
    "height": 64,
    "framing": "crop",
    "frames": FRAMES,
    "fps": 8,
    "motion_bucket": 127,
    "augmentation": 0.1,
    "seed": 5,
}


def condition(pack: tuple[FakeHost, Any], image: torch.Tensor, **changes: Any) -> tuple[Any, ...]:
    room = pack[1]("nodes.condition").SVDStudioImageConditioning
    return room.execute(clip_vision=FakeClipVision(), vae=FakeVae(), image=image, **CHOICE | changes).result


def pictures(count: int, channels: int = 3) -> torch.Tensor:
    return torch.rand(count, 96, 96, channels, generator=torch.Generator().manual_seed(1))


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


def svd_model(pack: tuple[FakeHost, Any], vector: int = 768) -> Any:
    base = pack[1]("nodes.sampling").SvdModelBase
    parts = {
        "model_sampling": SimpleNamespace(sigma_min=torch.tensor(0.02000001), sigma_max=torch.tensor(79.99999)),
        "latent_format": SimpleNamespace(latent_channels=4),
    }
    model = base()
    model.diffusion_model = None
    model.model_config = SimpleNamespace(unet_config={"context_dim": 3, "adm_in_channels": vector})
    return SimpleNamespace(model=model, get_model_object=parts.__getitem__)


def sampled(pack: tuple[FakeHost, Any], images: torch.Tensor, seed: int, **changes: Any) -> torch.Tensor:
    room = pack[1]("nodes.sample").SVDStudioSampler
    positive, negative, latent, *_ = condition(pack, images, seed=seed)
    choice = {"steps": 4, "cfg": 2.0, "solver": "euler_ancestral", "schedule": "karras"} | changes
    return room.execute(svd_model(pack), positive, negative, latent, seed, **choice).result[0]["samples"]


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


def decoded(pack: tuple[FakeHost, Any], vae: FakeVae, latent: Any, **changes: Any) -> Any:
    choice = {"decode_chunk": 8, "overlap": 4, "tile": 0, "restore_shape": True} | changes
    return pack[1]("nodes.decode").SVDStudioDecode.execute(vae, latent, **choice)


def test_a_foreign_decoder_never_sees_two_clips_at_once(pack: tuple[FakeHost, Any]) -> None:
    samples = torch.randn(2 * FRAMES, 4, 8, 8, generator=torch.Generator().manual_seed(2))
    vae = FakeVae()
    out = decoded(pack, vae, {"samples": samples, "svd_studio_frames": FRAMES})
    images, frames, report = out.result
    assert images.shape == (2 * FRAMES, 64, 64, 3) and frames == FRAMES
    assert {call[0] for call in vae.calls} == {FRAMES}
    assert "2 x 3 frames, 3 at a time" in report and "GiB" in out.ui.text
    alone = decoded(pack, vae, {"samples": samples[FRAMES:]}).result[0]
    torch.testing.assert_close(images[FRAMES:], alone)


def test_a_host_may_finish_frames_in_place(pack: tuple[FakeHost, Any]) -> None:
    samples = torch.randn(8, 4, 8, 8, generator=torch.Generator().manual_seed(2)) * 0.3
    expected = decoded(pack, FakeVae(), {"samples": samples}, decode_chunk=4, overlap=2).result[0]
    vae = FakeVae()
    vae.process_output = lambda pixels: pixels.add_(1.0).div_(2.0).clamp_(0.0, 1.0)
    found = decoded(pack, vae, {"samples": samples}, decode_chunk=4, overlap=2).result[0]
    torch.testing.assert_close(found, expected)


def test_running_out_of_memory_is_retried_and_said(pack: tuple[FakeHost, Any]) -> None:
    samples = torch.randn(8, 4, 16, 64, generator=torch.Generator().manual_seed(2)) * 0.3
    vae = FakeVae()
    whole = decoded(pack, vae, {"samples": samples}).result[0]
    vae.fail_above = 8 * 16 - 1
    images, _, report = decoded(pack, vae, {"samples": samples}).result
    assert "Memory ran out" in report and "trying once more" in report
    assert images.shape == whole.shape
    assert pack[0].loaded[-1] < pack[0].loaded[-2]


def test_a_vae_for_other_latents_is_refused(pack: tuple[FakeHost, Any]) -> None:
    with pytest.raises(refusal(pack), match="VAE's 4 channels; found 8"):
        decoded(pack, FakeVae(), {"samples": torch.zeros(3, 8, 8, 8)})
    video = FakeVae()
    video.latent_dim = 3
    with pytest.raises(refusal(pack), match="`vae` of the SVD family"):
        decoded(pack, video, {"samples": torch.zeros(3, 4, 8, 8)})


def test_bars_are_cut_away_again(pack: tuple[FakeHost, Any]) -> None:
    latent = condition(pack, torch.rand(1, 128, 64, 3), size="manual", framing="pad")[2]
    kept = decoded(pack, FakeVae(), latent, restore_shape=False).result[0]
    assert kept.shape[1:3] == (64, 64)
    assert decoded(pack, FakeVae(), latent).result[0].shape[1:3] == (64, 32)


GRAPH = {
    "1": {"class_type": "LoadImage", "inputs": {"image": "holiday/beach.jpg"}},
    "12": {"class_type": "SVDStudioSampler", "inputs": {"seed": 9, "model": ["3", 0]}},
    "2": {"class_type": "SVDStudioImageConditioning", "inputs": {"seed": 4}},
}


def save(pack: tuple[FakeHost, Any], folder: Path, filename: str, **changes: Any) -> Any:
    host, load = pack
    host.folder_paths.get_output_directory = lambda: str(folder)
    host.folder_paths.get_save_image_path = lambda name, out, *_: (out, Path(name).name, 1, "", name)
    room = load("nodes.save").SVDStudioSaveClip
    room.hidden = SimpleNamespace(prompt=GRAPH, extra_pnginfo={"workflow": {"nodes": []}}, unique_id="9")
    images = torch.rand(FRAMES, 16, 16, 3)
    return room.execute(images, 8.0, filename, **{"format": "png", "frames": 0, "notes": "64x64"} | changes)


def test_names_take_values_from_the_graph(pack: tuple[FakeHost, Any], tmp_path: Path) -> None:
    out = save(pack, tmp_path, "%stem%_%seed%_%SVDStudioSampler.seed%_%frames%_%width%_%fps%")
    videos, files = out.result
    assert (tmp_path / "beach_4_9_3_16_8_00001_" / "0002.png").exists()
    assert len(files.splitlines()) == len(out.ui.results) == FRAMES
    assert videos[0].fps == 8 and len(videos[0].images) == FRAMES


def test_the_graph_stays_out_when_metadata_is_off(pack: tuple[FakeHost, Any], tmp_path: Path) -> None:
    save(pack, tmp_path, "with")
    info = Image.open(tmp_path / "with_00001_" / "0000.png").info
    assert json.loads(info["prompt"]) == GRAPH and json.loads(info["workflow"]) == {"nodes": []}
    assert read_metadata(tmp_path / "with_00001_")["notes"] == "64x64"
    pack[0].metadata = False
    try:
        save(pack, tmp_path, "without")
    finally:
        pack[0].metadata = True
    assert "prompt" not in Image.open(tmp_path / "without_00001_" / "0000.png").info
    assert set(read_metadata(tmp_path / "without_00001_")) == {"fps"}


def test_the_values_that_made_a_clip_are_inside(pack: tuple[FakeHost, Any], tmp_path: Path) -> None:
    files = save(pack, tmp_path, "x", format="mp4", codec="h264", quality="small").result[1]
    inside = read_metadata(files)
    assert inside["values"] == {"image": "holiday/beach.jpg", "stem": "beach", "seed": 4}
    assert (inside["width"], inside["height"], inside["frames"], inside["fps"]) == (16, 16, FRAMES, "8")


def test_what_cannot_be_written_is_said_before_it_runs(pack: tuple[FakeHost, Any]) -> None:
    check = pack[1]("nodes.save").SVDStudioSaveClip.validate_inputs
    assert check("mp4", "auto") is True and check("png", "h264") is True and check(None, None) is True
    assert "webm holds; found h264" in check("webm", "h264")
    assert "mp4, webm" in check("avi", "auto") and "auto, h264" in check("mp4", "divx")


def test_cancelling_a_save_leaves_no_half_file(pack: tuple[FakeHost, Any], tmp_path: Path) -> None:
    pack[0].cancelled = True
    try:
        with pytest.raises(KeyboardInterrupt):
            save(pack, tmp_path, "x", format="mp4")
    finally:
        pack[0].cancelled = False
    assert not list(tmp_path.iterdir())


def test_frames_that_make_no_whole_clips_are_refused(pack: tuple[FakeHost, Any], tmp_path: Path) -> None:
    with pytest.raises(refusal(pack), match="whole clips of 2"):
        save(pack, tmp_path, "x", frames=2)
    assert not list(tmp_path.iterdir())


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
