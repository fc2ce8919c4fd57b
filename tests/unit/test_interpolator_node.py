"""Load SVD Interpolator and models of the host's own on a fake host: one socket, both ways."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from svd_core.config import InterpolatorConfig
from svd_core.interpolation import Gap, Plan, retime
from svd_core.unet.interpolator import VideoInterpolator
from svd_core.weights.fingerprint import latent_fingerprint
from svd_core.weights.save import save_model
from svd_core.weights.video_engine import load_video_engine
from svd_core.weights.video_interpolators import save_interpolator
from tests.fake_host import FakeHost, on_fake_host
from tests.interpolation_scenes import scene
from tests.models import SMALL, random_model
from tests.rife import frames, recorded, weights
from tests.tiny import randomise_
from tests.unit.test_interpolation_node import SETTINGS

FILE = "flownet.pth"
SIZE = (50, 70)
Loaded = tuple[FakeHost, Any]


def casting(kind: type[nn.Module]) -> type[nn.Module]:
    """A layer that brings its weights to the dtype of its input, as the host's do."""

    class Casting(kind):  # type: ignore[misc, valid-type]
        def forward(self, x: Tensor, *rest: Any) -> Tensor:
            own = dict(self._parameters)
            cast = {name: None if one is None else nn.Parameter(one.to(x.dtype), False) for name, one in own.items()}
            self._parameters.update(cast)
            try:
                return kind.forward(self, x, *rest)
            finally:
                self._parameters.update(own)

    return Casting


LAYERS = ("Linear", "Conv2d", "Conv3d", "ConvTranspose2d", "GroupNorm", "LayerNorm")
CASTING = SimpleNamespace(**{name: casting(getattr(nn, name)) for name in LAYERS})


class Patcher:
    """What of the host's patcher is used."""

    def __init__(self, model: Any, load_device: torch.device, offload_device: torch.device) -> None:
        self.model, self.load_device, self.offload_device = model, load_device, offload_device

    def model_dtype(self) -> torch.dtype | None:
        return self.model.get_dtype() if hasattr(self.model, "get_dtype") else None


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    folder = tmp_path_factory.mktemp("models")
    host, module = on_fake_host()
    known: dict[str, list[str]] = {"checkpoints": [], "diffusers": [], "custom_nodes": [str(folder / "custom_nodes")]}

    def names(kind: str) -> list[str]:
        places = [Path(place) for place in known.get(kind, [])]
        return sorted(path.relative_to(place).as_posix() for place in places for path in place.rglob("*.*"))

    def full(kind: str, name: str) -> str | None:
        return next((str(Path(place) / name) for place in known[kind] if (Path(place) / name).is_file()), None)

    host.folder_paths = SimpleNamespace(
        folder_names_and_paths=known,
        get_folder_paths=lambda kind: known[kind],
        get_filename_list=names,
        get_full_path=full,
        add_model_folder_path=lambda kind, place: known.setdefault(kind, []).append(place),
        get_temp_directory=lambda: str(folder / "temp"),
    )
    host.register_folder = lambda name: host.folder_paths.add_model_folder_path(name, str(folder / name))
    host.add_routes = lambda routes: None
    host.ModelPatcher, host.cast_on_use = Patcher, CASTING
    host.management.get_torch_device = host.management.unet_offload_device = lambda: torch.device("cpu")
    host.management.should_use_fp16 = lambda device: False
    host.management.vae_dtype = lambda device, allowed: allowed[-1]
    module("nodes.catalog").register_interpolators()
    for place in ("frame_interpolation", "rife", "custom_nodes/ComfyUI-Frame-Interpolation/ckpts/rife"):
        (folder / place).mkdir(parents=True)
    tensors = weights(recorded()["4.17 lite"].shapes)
    torch.save(tensors, folder / "frame_interpolation" / FILE)
    save_file(tensors, folder / "rife" / "other.safetensors")
    torch.save(tensors, folder / "custom_nodes/ComfyUI-Frame-Interpolation/ckpts/rife" / "rife49.pth")
    (folder / "rife" / "notes.txt").write_text("not a model")
    save_interpolator(
        small_network(),
        folder / "frame_interpolation" / "own.safetensors",
        base=latent_fingerprint(random_model(SMALL)),  # type: ignore[arg-type]
        metadata={},
        dtype=torch.float32,
    )
    for kind in ("checkpoints", "diffusers"):
        known[kind].append(str(folder / kind))
        (folder / kind).mkdir()
    for name, seed in (("small.safetensors", 0), ("another.safetensors", 9)):
        save_model(random_model(SMALL, seed), folder / "checkpoints" / name)  # type: ignore[arg-type]
    odd = {name: tensor for name, tensor in tensors.items() if not name.startswith("block3.")}
    save_file(odd, folder / "rife" / "odd.safetensors")
    return host, module


@pytest.fixture
def patcher(pack: Loaded) -> Any:
    node = pack[1]("nodes.load_interpolator").SVDStudioLoadInterpolator
    return node.execute(FILE, "auto", "1", 1).result[0]


def small_network() -> VideoInterpolator:
    unet = dataclasses.replace(SMALL.unet, in_channels=17)
    network = VideoInterpolator(InterpolatorConfig(name="residual", form="residual", unet=unet))
    randomise_(network, seed=4)
    return network.eval().requires_grad_(False)


def images(count: int = 3, channels: int = 3) -> Tensor:
    shown = scene("translate", 1, SIZE)
    made = torch.stack([shown.at(index / 4) for index in range(count)])
    return torch.cat((made, made[..., :1]), dim=-1)[..., :channels]


def interpolate(pack: Loaded, given: Tensor, **changes: Any) -> tuple[Any, ...]:
    node = pack[1]("nodes.interpolate").SVDStudioInterpolate
    return node.execute(given, 8.0, **SETTINGS | {"engine": "flow"} | changes).result


def test_files_are_listed_wherever_artists_have_them(pack: Loaded) -> None:
    catalog = pack[1]("nodes.catalog")
    listed = [FILE, "own.safetensors", "odd.safetensors", "other.safetensors", "rife49.pth", "nano (embedded)"]
    assert catalog.interpolator_names() == listed
    assert catalog.find_interpolator("rife49.pth").parent.name == "rife"
    assert {f"frame_interpolation: {FILE}", "rife: odd.safetensors", "rife: rife49.pth"} <= set(catalog.file_names())
    assert not any("notes" in name for name in catalog.file_names())
    for name in ("notes.txt", "../secret.pth", "gone.pth"):
        with pytest.raises(pack[1]("svd_core.errors").InputError, match="frame_interpolation or ComfyUI/models/rife"):
            catalog.find_interpolator(name)


def test_the_node_says_what_is_in_the_file(pack: Loaded) -> None:
    node = pack[1]("nodes.load_interpolator").SVDStudioLoadInterpolator
    output = node.execute("other.safetensors", "bfloat16", "0.5", 4, refine=True)
    patcher, report = output.result
    assert "layout 4.13" in report and "2.6 million" in report and "bfloat16" in report and "multiples of 64" in report
    assert output.ui.text == report
    assert (patcher.model.batch, patcher.model.flow_scale, patcher.model.get_dtype()) == (4, 0.5, torch.bfloat16)
    assert node.fingerprint_inputs(FILE, dtype="auto") != node.fingerprint_inputs(FILE, dtype="float32")


def test_what_is_this_file_knows_them(pack: Loaded) -> None:
    node = pack[1]("nodes.info").SVDStudioInfo
    report, _ = node.execute(f"frame_interpolation: {FILE}").result
    assert "family: rife" in report and "layout: 4.13" in report and "RIFE 4.13 to 4.20" in report


def test_what_cannot_work_is_said_on_the_node(pack: Loaded) -> None:
    node = pack[1]("nodes.load_interpolator").SVDStudioLoadInterpolator
    assert node.validate_inputs(FILE, "auto", "1") is True and node.validate_inputs(None) is True
    assert "4.7 to 4.9" in node.validate_inputs("odd.safetensors")
    assert "dtype" in node.validate_inputs(FILE, "int8") and "flow_scale" in node.validate_inputs(FILE, "auto", "3")
    assert "ComfyUI/models/rife" in node.validate_inputs("gone.pth")


@pytest.mark.parametrize("channels", [3, 4])
def test_it_makes_the_frames_of_svd_interpolate(pack: Loaded, patcher: Any, channels: int) -> None:
    given = images(3, channels)
    pack[0].loaded.clear()
    made, fps, count, _, report = interpolate(pack, given, factor=2.5, engine_model=patcher, cut_guard="off")
    assert (fps, count) == (20.0, 6) and made.shape == (6, *SIZE, channels)
    assert torch.equal(made[0], given[0]) and torch.equal(made[5], given[2])
    assert "New frames by rife 4.13." in report and pack[0].loaded == [300 * 50 * 70 * 4]
    flow = interpolate(pack, given, factor=2.5, cut_guard="off")[0]
    assert (made[1] - flow[1]).abs().mean() > 0.01, "flow made the frames"
    blended = interpolate(pack, given, engine="blend", engine_model=patcher)
    assert "rife" not in blended[4]
    assert interpolate(pack, given[:1], engine_model=patcher)[2] == 1


def test_our_model_answers_the_host_s_calls(patcher: Any) -> None:
    """As the host's own node asks: features of each picture once, all times of a pair together."""
    first, second = frames(1, (64, 96))
    network = patcher.model
    cache = {"img0": network.extract_features(first), "img1": network.extract_features(second)}
    clock = torch.tensor([0.25, 0.75]).view(2, 1, 1, 1).expand(-1, 1, 64, 96)
    with torch.no_grad():
        made = network(first.expand(2, -1, -1, -1), second.expand(2, -1, -1, -1), timestep=clock, cache=cache)
        alone = network(first, second, timestep=0.25)
        direct = network.frames_at(first, second, torch.tensor([0.75]))
    torch.testing.assert_close(made[:1], alone, atol=2e-5, rtol=0)
    torch.testing.assert_close(made[1:], direct, atol=2e-5, rtol=0)
    assert network.pad_align == 32 and network.memory_used_forward((7, 64, 96, 3), torch.float16) == 300 * 64 * 96 * 2


def video_model(pack: Loaded, name: str = "own.safetensors", base: str = "small.safetensors") -> tuple[Any, str]:
    node = pack[1]("nodes.load_interpolator").SVDStudioLoadInterpolator
    return node.execute(name, "auto", "1", 1, base=base).result


def test_the_paper_s_network_makes_the_frames_of_svd_interpolate(pack: Loaded) -> None:
    patcher, report = video_model(pack)
    assert "own.safetensors: video interpolator of small, 3 frames between two, drawn in one step" in report
    assert "padded to multiples of 8" in report
    given = images(3, 4)
    pack[0].loaded.clear()
    made, fps, count, _, told = interpolate(pack, given, factor=4.0, engine_model=patcher, cut_guard="off")
    assert (fps, count) == (32.0, 9) and "New frames by svd:own." in told
    engine = load_video_engine(
        pack[1]("nodes.catalog").find_interpolator("own.safetensors"),
        base=pack[1]("nodes.catalog").find("small.safetensors"),
    )
    expected = list(retime(given, 3, Plan(factor=Fraction(4)), engine=engine, cut_guard="off"))
    torch.testing.assert_close(made, torch.stack([frame.pixels for frame in expected]), atol=1e-5, rtol=0)
    assert torch.equal(made[4], given[1]) and (made[2] - torch.lerp(given[0], given[1], 0.5)).abs().mean() > 1e-3
    # 50x70 are padded to 56x72, latents of 14x18; the decoder takes all five frames at once.
    channels = 3 * SMALL.autoencoder.channels[0] + 2 * SMALL.autoencoder.channels[1]
    assert pack[0].loaded == [9 * 56 * 72 * channels * 4]


def test_the_embedded_one_needs_no_file(pack: Loaded) -> None:
    patcher, report = video_model(pack, "nano (embedded)", "nano (embedded)")
    assert "nano_interpolator.safetensors: video interpolator of nano" in report and "made for 64x64" in report
    given = torch.rand(2, 16, 24, 3, generator=torch.Generator().manual_seed(1))
    made = interpolate(pack, given, factor=4.0, engine_model=patcher, cut_guard="off")
    assert made[2] == 5 and "New frames by svd:nano_interpolator." in made[4]
    assert patcher.model.get_dtype() == torch.float32
    # The host counts, moves and frees what lies on the patcher: all three networks, and not the base's UNet.
    parts = {name.split(".")[0] for name in patcher.model.state_dict()}
    assert parts == {"network", "autoencoder", "image_encoder"}


def test_a_base_it_does_not_belong_to_is_refused(pack: Loaded) -> None:
    errors = pack[1]("svd_core.errors")
    told = r"the model own.safetensors was trained on.*in another.safetensors.*Name its own model"
    with pytest.raises(errors.WeightsMismatchError, match=told):
        video_model(pack, base="another.safetensors")
    with pytest.raises(errors.WeightsMismatchError, match=r"nano_interpolator.safetensors was trained on"):
        video_model(pack, "nano (embedded)")
    node = pack[1]("nodes.load_interpolator").SVDStudioLoadInterpolator
    assert node.validate_inputs("own.safetensors", "auto", "1", "small.safetensors") is True
    assert "no 'gone.safetensors'" in node.validate_inputs("own.safetensors", base="gone.safetensors")
    assert node.validate_inputs(FILE, base=None) is True
    known = {
        node.fingerprint_inputs("own.safetensors", base=base, dtype="auto")
        for base in ("small.safetensors", "another.safetensors", None)
    }
    assert len(known) == 3


def test_the_host_s_own_node_may_call_it(pack: Loaded) -> None:
    """Rows of one pair are drawn together; each is what the engine makes."""
    patcher, _ = video_model(pack)
    network, (first, second) = patcher.model, frames(1, (32, 40))
    calls: list[int] = []
    network.network.unet.register_forward_pre_hook(lambda *_: calls.append(1))
    cache = {"img0": network.extract_features(first)}
    clock = torch.tensor([0.25, 0.5, 0.5]).view(3, 1, 1, 1).expand(-1, 1, 32, 40)
    pair = torch.cat((first, first, second)), torch.cat((second, second, first))
    with torch.no_grad():
        made = network(*pair, timestep=clock, cache=cache)
        alone = network(first, second, timestep=0.25)
    assert made.shape == (3, 3, 32, 40) and len(calls) == 3
    torch.testing.assert_close(made[:1], alone, atol=1e-6, rtol=0)
    assert not torch.allclose(made[1], made[2], atol=1e-3), "the other way round it is another pair"
    assert network.pad_align == 8


def test_steps_and_seed_reach_files_that_sample_and_no_others(pack: Loaded) -> None:
    catalog, face = pack[1]("nodes.catalog"), pack[1]("nodes.load_interpolator").SVDStudioLoadInterpolator
    unet = dataclasses.replace(SMALL.unet, in_channels=17)
    network = VideoInterpolator(InterpolatorConfig(name="masked", form="masked", unet=unet))
    randomise_(network, seed=5)
    place = catalog.find_interpolator("own.safetensors").with_name("masked.safetensors")
    base = latent_fingerprint(random_model(SMALL))  # type: ignore[arg-type]
    save_interpolator(network.eval(), place, base=base, metadata={}, dtype=torch.float32)
    try:
        frame = {seed: made_with(face, place.name, steps=2, seed=seed) for seed in (0, 0, 7)}
        expected = load_video_engine(place, base=catalog.find("small.safetensors"), steps=2, seed=7)
        first, second = (picture[0].movedim(0, -1) for picture in frames(1, (16, 16)))
        (alone,) = expected.between([Gap(first, second, (0.5,))])
        known = {
            face.fingerprint_inputs(place.name, steps=steps, seed=seed) for steps, seed in ((2, 0), (2, 7), (3, 7))
        }
    finally:
        place.unlink()
    assert not torch.allclose(frame[0][0], frame[7][0], atol=1e-4) and len(known) == 3
    assert "sampled from noise in 2 steps, seed 7" in frame[7][1]
    torch.testing.assert_close(frame[7][0], alone, atol=1e-5, rtol=0)
    drawn = [made_with(face, "own.safetensors", steps=steps, seed=steps) for steps in (1, 9)]
    assert torch.equal(drawn[0][0], drawn[1][0]) and "drawn in one step" in drawn[0][1]


def made_with(face: Any, name: str, **settings: int) -> tuple[Tensor, str]:
    """The frame in the middle, as the host's node gets it, and the report."""
    patcher, report = face.execute(name, "auto", "1", 1, base="small.safetensors", **settings).result
    with torch.no_grad():
        return patcher.model(*frames(1, (16, 16)), timestep=0.5)[0].movedim(0, -1), report


@pytest.mark.parametrize("kind", ["rife", "video"])
def test_one_time_serves_all_rows_and_other_numbers_are_refused(pack: Loaded, patcher: Any, kind: str) -> None:
    network = patcher.model if kind == "rife" else video_model(pack)[0].model
    first, second = frames(1, (32, 64))
    pair = torch.cat((first, second, second)), torch.cat((second, first, first))
    with torch.no_grad():
        wanted = network(*pair, timestep=0.25)
        for one in (torch.tensor(0.25), torch.tensor([0.25]), torch.full((1, 1, 32, 64), 0.25)):
            torch.testing.assert_close(network(*pair, timestep=one), wanted, atol=1e-6, rtol=0)
    assert not torch.allclose(wanted[0], wanted[1], atol=1e-3) and torch.allclose(wanted[1], wanted[2], atol=1e-5)
    told = "timestep for 3 pairs of pictures; found 2 of them"
    with pytest.raises(pack[1]("svd_core.errors").InputError, match=told):
        network(*pair, timestep=torch.tensor([0.25, 0.5]))


def test_cancelling_stops_inside_a_frame(pack: Loaded) -> None:
    patcher, _ = video_model(pack)
    engine = pack[1]("nodes.host_interpolation").host_engine(patcher, 32, 40)
    first, second = (frame[0].movedim(0, -1) for frame in frames(1, (32, 40)))
    gap = pack[1]("svd_core.interpolation").Gap(first, second, (0.5,))
    pack[0].cancelled = True
    try:
        with pytest.raises(KeyboardInterrupt):
            next(engine.between([gap]))
    finally:
        pack[0].cancelled = False


class Theirs(nn.Module):
    """A host's network in either shape: one that takes a time for every row, or one that takes a list of them."""

    pad_align = 64

    def __init__(self, listed: bool) -> None:
        super().__init__()
        self.features, self.calls = 0, list[int]()
        if listed:
            self.forward_multi_timestep = self._listed

    def extract_features(self, picture: Tensor) -> list[Tensor]:
        assert picture.shape == (1, 3, 64, 128)
        self.features += 1
        return [picture.mean()]

    def _listed(self, first: Tensor, second: Tensor, times: Sequence[float], cache: dict[str, Any]) -> Tensor:
        assert first.shape[0] == 1 and torch.equal(cache["img1"][0], second.mean())
        self.calls.append(len(times))
        return torch.cat([torch.lerp(first, second, time) for time in times])

    def forward(self, first: Tensor, second: Tensor, timestep: Tensor, cache: dict[str, Any]) -> Tensor:
        assert timestep.shape == (len(first), 1, 64, 128) and torch.equal(cache["img0"][0], first[0].mean())
        self.calls.append(len(first))
        return torch.lerp(first, second, timestep)


@pytest.mark.parametrize("listed", [False, True])
def test_models_of_the_host_make_frames_too(pack: Loaded, listed: bool) -> None:
    network, given = Theirs(listed), images(3, 4)
    theirs = Patcher(network, torch.device("cpu"), torch.device("cpu"))
    made, _, _, _, report = interpolate(pack, given, factor=10.0, engine_model=theirs, cut_guard="off")
    torch.testing.assert_close(made, interpolate(pack, given, factor=10.0, engine="blend", cut_guard="off")[0])
    # Of every frame its colours and its alpha.
    assert network.features == 6 and network.calls == [8, 8, 1, 1] * 2 and "New frames by Theirs." in report


def test_other_sockets_are_refused(pack: Loaded) -> None:
    refusal = pack[1]("svd_core.errors").InputError
    for wrong in (SimpleNamespace(model=nn.Linear(2, 2)), object()):
        with pytest.raises(refusal, match="a frame interpolation model"):
            interpolate(pack, images(), engine_model=wrong)


def test_cancelling_stops_between_frames(pack: Loaded, patcher: Any) -> None:
    pack[0].cancelled = True
    try:
        with pytest.raises(KeyboardInterrupt):
            interpolate(pack, images(), engine_model=patcher)
    finally:
        pack[0].cancelled = False


def test_the_folders_are_known_when_nodes_are_asked_for(pack: Loaded) -> None:
    host, module = pack
    host.folder_paths.folder_names_and_paths.pop("rife")
    try:
        asyncio.run(module("nodes").SVDStudioExtension().get_node_list())
    finally:
        module("nodes.catalog").register_interpolators()
    assert "rife" in host.folder_paths.folder_names_and_paths


def test_lists_that_spare_an_import_agree_with_the_core(pack: Loaded) -> None:
    face, core = pack[1]("nodes.load_interpolator"), pack[1]("svd_core.weights.rife")
    assert [float(scale) for scale in face._FLOW_SCALES] == list(core.FLOW_SCALES)
    assert tuple(pack[1]("nodes.host_interpolation").DTYPES) == face._DTYPES
    assert face._MOST_AT_ONCE == core._MOST_AT_ONCE
    entries = {entry.id: entry for entry in face.SVDStudioLoadInterpolator.define_schema().inputs}
    assert entries["steps"].default == pack[1]("svd_core.weights.video_engine").STEPS
