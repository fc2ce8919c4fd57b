"""Decode and Save Clip on a fake host: clip by clip, named by the graph, whole or not at all."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from PIL import Image

from svd_core.video_io import read_metadata
from tests.fake_host import FakeHost, on_fake_host
from tests.rooms import FRAMES, FakeVae, condition, refusal


@pytest.fixture(scope="module")
def pack() -> tuple[FakeHost, Any]:
    return on_fake_host()


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


@pytest.mark.parametrize("cell", [4, 8])
def test_tiles_are_told_in_pixels_whatever_a_cell_is(pack: tuple[FakeHost, Any], cell: int) -> None:
    samples = torch.randn(FRAMES, 4, 128 // cell, 128 // cell, generator=torch.Generator().manual_seed(2))
    vae = FakeVae(cell)
    images, _, report = decoded(pack, vae, {"samples": samples}, tile=64).result
    assert 32 < max(call[-1] for call in vae.calls) * cell <= 64
    assert images.shape[1:3] == (128, 128) and "tiles of 64 pixels" in report


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
