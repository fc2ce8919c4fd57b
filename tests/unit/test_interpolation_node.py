"""SVD Interpolate on a fake host: what it hands out, where it keeps it, that it stops."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.fake_host import FakeHost, on_fake_host
from tests.interpolation_scenes import scene

SETTINGS = {
    "mode": "factor",
    "factor": 2.0,
    "fps": 24.0,
    "loop": "off",
    "keep_duration": False,
    "ease": "linear",
    "engine": "blend",
    "cut_guard": "hold",
    "dedupe": False,
}


@pytest.fixture(scope="module")
def pack() -> tuple[FakeHost, Any]:
    return on_fake_host()


@pytest.fixture
def node(pack: tuple[FakeHost, Any], tmp_path: Path) -> Any:
    host, load = pack
    host.folder_paths.get_temp_directory = lambda: str(tmp_path)
    host.management.get_torch_device = lambda: torch.device("cpu")
    return load("nodes.interpolate").SVDStudioInterpolate


def images(count: int = 4, channels: int = 3) -> torch.Tensor:
    shown = scene("translate", 1, (32, 48))
    frames = torch.stack([shown.at(index / 4) for index in range(count)])
    return torch.cat((frames, frames[..., :1]), dim=-1)[..., :channels]


def run(node: Any, given: torch.Tensor, **changes: Any) -> tuple[Any, ...]:
    return node.execute(given, changes.pop("source_fps", 8.0), **SETTINGS | changes).result


def test_what_comes_out(node: Any) -> None:
    made, fps, count, mask, report = run(node, images(), engine="flow")
    assert made.shape == (7, 32, 48, 3) and (fps, count) == (16.0, 7)
    assert torch.equal(made[::2], images())
    assert mask.shape == (7, 32, 48) and mask[:, 0, 0].tolist() == [0, 1, 0, 1, 0, 1, 0]
    assert "4 source frames, 7 frames out, 3 of them new" in report


def test_what_happened_is_shown_on_the_node(node: Any) -> None:
    frames = torch.rand(5, 16, 24, 3, generator=torch.Generator().manual_seed(1))
    output = node.execute(frames, 24.0, **SETTINGS | {"mode": "fps", "fps": 12.0})
    assert output.ui.text == output.result[4]
    assert "The target rate is below the source's: 2 source frames are left out." in output.ui.text
    assert torch.equal(output.result[0], frames[::2])


def test_modes_and_alpha(node: Any) -> None:
    assert run(node, images(), mode="fps", fps=20.0)[1:3] == (20.0, 8)
    assert run(node, images(), mode="times", times="0.25, 0.5")[1:3] == (24.0, 10)
    assert run(node, images(), loop="ping-pong")[2] == 12
    assert run(node, images(channels=4))[0].shape == (7, 32, 48, 4)
    assert run(node, images(1), factor=4.0)[2] == 1


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"source_fps": 0.0}, "`source_fps` above 0; found 0"),
        ({"source_fps": -7.0}, "`source_fps` above 0; found -7"),
        ({"source_fps": float("nan")}, "`source_fps` above 0; found nan"),
        ({"factor": float("inf")}, "`factor` above 0; found inf"),
        ({"mode": "fps", "fps": 0.0}, "`fps` above 0"),
        ({"mode": "times", "times": " , "}, "`times` in mode times; found an empty list"),
        ({"mode": "rate"}, "mode"),
        ({"pairs": "0-9999999"}, "at most 1000000 frames"),
    ],
)
def test_numbers_that_make_no_sense_are_refused(
    node: Any, pack: tuple[FakeHost, Any], changes: dict[str, Any], words: str
) -> None:
    """Connected inputs are not held to what the widgets allow."""
    with pytest.raises(pack[1]("svd_core.errors").InputError, match=words):
        run(node, images(), **changes)


def test_a_smaller_flow_is_another_one(node: Any) -> None:
    whole, half = (run(node, images(), engine="flow", flow_scale=scale)[0] for scale in (1.0, 0.5))
    assert torch.equal(whole[::2], half[::2]) and not torch.equal(whole, half)


def test_on_disk_it_is_the_same_and_no_file_stays(node: Any, tmp_path: Path) -> None:
    on_disk = run(node, images(), memory="disk")[0]
    assert torch.equal(on_disk, run(node, images(), memory="ram")[0])
    assert list(tmp_path.iterdir()) == []
    on_disk[0, 0, 0, 0] = 0.5
    assert float(on_disk[0, 0, 0, 0]) == 0.5


def test_a_full_disk_is_told_before_the_work(
    node: Any, pack: tuple[FakeHost, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    work = pack[1]("nodes.interpolating")
    monkeypatch.setattr(work.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 1000})())
    with pytest.raises(pack[1]("svd_core.errors").OutputError, match="GB of disk"):
        run(node, images(), memory="disk")
    assert list(tmp_path.iterdir()) == []


def test_cancelling_stops_between_frames(node: Any, pack: tuple[FakeHost, Any]) -> None:
    pack[0].cancelled = True
    try:
        with pytest.raises(KeyboardInterrupt):
            run(node, images())
    finally:
        pack[0].cancelled = False


def test_nonsense_is_explained(node: Any, pack: tuple[FakeHost, Any]) -> None:
    refusal = pack[1]("svd_core.errors").InputError
    holed = images()
    holed[2, 0, 0, 0] = float("nan")
    for given, changes, word in (
        (holed, {}, "frame 2"),
        (images(), {"factor": -1.0}, "`factor` above 0"),
        (images(), {"source_fps": 0.0, "mode": "fps"}, "`source_fps` above 0"),
        (images(), {"pairs": "a-b"}, "frame numbers"),
        (images(), {"memory": "cloud"}, "memory"),
    ):
        with pytest.raises(refusal, match=word):
            run(node, given, **changes)


def test_lists_that_spare_an_import_agree_with_the_core(node: Any, pack: tuple[FakeHost, Any]) -> None:
    face, core = pack[1]("nodes.interpolate"), pack[1]("svd_core.interpolation")
    assert (face._LOOPS, face._ENGINES, face._GUARDS, face._EASES) == (
        core.LOOPS,
        core.ENGINES,
        core.CUT_GUARDS,
        core.EASES,
    )
    assert set(face._PAIR_MODES) == set(core.PAIR_MODES) and face._MEMORY == pack[1]("nodes.interpolating")._MEMORY
