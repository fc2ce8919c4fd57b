from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from svd_core.config import NANO, SV3D_P, SV3D_U, SVD, SVD_XT, SVD_XT_1_1
from svd_core.errors import FileFormatError, SvdError, UnsupportedModelError
from svd_core.weights.detect import Detection, detect
from svd_core.weights.inspection import inspect
from svd_core.weights.source import Checkpoint, open_checkpoint
from tests.checkpoints import DIFFUSERS, SGM, Shapes, manifest, sparse_file
from tests.models import SMALL
from tests.tiny import TINY

UNET = "model.diffusion_model."


def _detect(path: Path) -> Detection:
    return detect(open_checkpoint(path))


def _folder(tmp_path: Path, configs: dict[str, dict[str, object]] | None = None, suffix: str = "") -> Path:
    for part in ("unet", "vae", "image_encoder"):
        stem = "model" if part == "image_encoder" else "diffusion_pytorch_model"
        sparse_file(tmp_path / part / f"{stem}{suffix}.safetensors", manifest(f"svd_xt.diffusers.{part}"))
        if configs and part in configs:
            (tmp_path / part / "config.json").write_text(json.dumps(configs[part]))
    return tmp_path


def _bare(shapes: Shapes, prefix: str = UNET) -> Shapes:
    return {name.removeprefix(prefix): shape for name, shape in shapes.items() if name.startswith(prefix)}


@pytest.mark.parametrize(
    ("name", "file", "expected"),
    [
        ("svd_xt.sgm", "svd_xt.safetensors", SVD_XT),
        ("svd_xt.sgm", "svd.safetensors", SVD),
        ("svd_xt.sgm", "svd_xt_1_1.safetensors", SVD_XT_1_1),
        ("svd_xt.sgm", "stable-video-diffusion-img2vid-xt-1-1.safetensors", SVD_XT_1_1),
        ("sv3d_u.sgm", "sv3d_u.safetensors", SV3D_U),
        ("sv3d_p.sgm", "anything.safetensors", SV3D_P),
    ],
)
def test_original_files(tmp_path: Path, name: str, file: str, expected: object) -> None:
    facts = inspect(sparse_file(tmp_path / file, manifest(name)))
    assert _detect(tmp_path / file).config == expected
    assert facts["kind"] == "model"
    assert facts["layout"] == "sgm"
    assert facts["dtype"] == "float16"
    assert (facts["missing"], facts["unexpected"], facts["mismatched"]) == ([], [], [])


def test_counts_and_drops_of_the_published_layout(tmp_path: Path) -> None:
    facts = inspect(sparse_file(tmp_path / "svd_xt.safetensors", manifest("svd_xt.sgm")))
    assert facts["tensors"] == 2446
    assert facts["parameters"] == 2_389_819_785
    assert facts["used"] == 1428 + 374 + 392
    dropped = facts["dropped"]
    assert isinstance(dropped, dict)
    assert sum(dropped.values()) == 2446 - facts["used"]
    assert sorted(dropped.values()) == [6, 106, 140]


def test_host_saved_encodes_with_the_first_stage(tmp_path: Path) -> None:
    detection = _detect(sparse_file(tmp_path / "svd_xt.safetensors", manifest("svd_xt.comfy_saved")))
    assert detection.layout == "host_saved"
    assert detection.config is not None
    assert not detection.config.autoencoder.quant_conv
    assert detection.places.encoder == detection.places.decoder
    assert inspect(tmp_path / "svd_xt.safetensors")["unexpected"] == []


def test_image_decoder_variant(tmp_path: Path) -> None:
    shapes = {k: v for k, v in manifest("svd_xt.sgm").items() if not k.startswith("first_stage_model.")}
    shapes |= manifest("svd_image_decoder.first_stage.sgm")
    facts = inspect(sparse_file(tmp_path / "svd_xt_image_decoder.safetensors", shapes))
    config = _detect(tmp_path / "svd_xt_image_decoder.safetensors").config
    assert config is not None
    assert not config.autoencoder.temporal_decoder
    assert config.autoencoder.post_quant_conv
    assert (facts["missing"], facts["unexpected"], facts["mismatched"]) == ([], [], [])


@pytest.mark.parametrize("suffix", ["", ".fp16"])
def test_diffusers_folder_with_and_without_index(tmp_path: Path, suffix: str) -> None:
    heads = {"num_attention_heads": [5, 10, 20, 20], "num_frames": 25, "addition_time_embed_dim": 256}
    folder = _folder(tmp_path / "model", {"unet": heads}, suffix)
    detection = _detect(folder)
    assert detection.layout == "diffusers"
    assert detection.config == SVD_XT
    (folder / "model_index.json").write_text("{}")
    assert _detect(folder).config == SVD_XT
    assert inspect(folder)["missing"] == []


def test_fp16_variant_is_taken_when_half_precision_is_wanted(tmp_path: Path) -> None:
    folder = _folder(_folder(tmp_path), suffix=".fp16")
    key = "unet/conv_in.weight"
    assert open_checkpoint(folder, half=True).tensors[key].file.name == "diffusion_pytorch_model.fp16.safetensors"
    assert open_checkpoint(folder).tensors[key].file.name == "diffusion_pytorch_model.safetensors"


def test_wrong_head_counts_of_derived_folders_are_overruled(tmp_path: Path) -> None:
    config = _detect(_folder(tmp_path, {"unet": {"num_attention_heads": [5, 10, 10, 20]}})).config
    assert config is not None
    assert config.unet.head_channels == 64


def test_a_folder_without_config_still_loads_by_shapes(tmp_path: Path) -> None:
    detection = _detect(_folder(tmp_path))
    assert detection.config is not None
    assert detection.config.unet == SVD.unet
    assert any("assumed" in note for note in detection.notes)


@pytest.mark.parametrize("naming", ["prefixed", "bare", "diffusers", "folder"])
def test_unet_only(tmp_path: Path, naming: str) -> None:
    shapes = manifest("svd_xt.diffusers.unet")
    path = tmp_path / "svd_xt_unet.safetensors"
    if naming in ("prefixed", "bare"):
        full = _bare(manifest("svd_xt.sgm"))
        shapes = full if naming == "bare" else {UNET + name: shape for name, shape in full.items()}
    if naming == "folder":
        sparse_file(tmp_path / "unet" / "diffusion_pytorch_model.safetensors", shapes)
        (tmp_path / "unet" / "config.json").write_text(json.dumps({"num_frames": 25}))
        path = tmp_path / "unet"
    else:
        sparse_file(path, shapes)
    facts = inspect(path)
    assert (facts["layout"], facts["family"], facts["parts"]) == ("unet_only", "svd", ["unet"])
    assert facts["used"] == 1428
    assert (facts["missing"], facts["unexpected"]) == ([], [])


@pytest.mark.parametrize(
    ("file", "metadata", "expected"),
    [
        ("AnimateLCM-SVD-xt.safetensors", None, "animatelcm_svd_xt"),
        ("AnimateLCM-SVD-xt-1.1.safetensors", None, "animatelcm_svd_xt_1_1"),
        ("unet.safetensors", {"modelspec.title": "AnimateLCM SVD"}, "animatelcm_svd_xt"),
        ("svd_xt.safetensors", None, "svd_xt"),
    ],
)
def test_animate_lcm_by_name_or_metadata(
    tmp_path: Path, file: str, metadata: dict[str, str] | None, expected: str
) -> None:
    path = sparse_file(tmp_path / file, manifest("svd_xt.diffusers.unet"), metadata=metadata)
    config = _detect(path).config
    assert config is not None
    assert config.name == expected
    lcm = "animatelcm" in expected
    assert config.sampling.solver == ("animatelcm" if lcm else "euler")
    assert (config.sampling.steps == 4) == lcm
    assert (config.sampling.guidance_max == 1.2) == lcm


def _with(extra: dict[str, tuple[int, ...]]) -> Callable[[], Shapes]:
    return lambda: _bare(manifest("svd_xt.sgm")) | extra


FOREIGN: list[tuple[str, Callable[[], Shapes]]] = [
    ("sv4d", lambda: manifest("sv4d.unet.sgm")),
    ("sv4d2", lambda: manifest("sv4d2.unet.sgm")),
    (
        "svd_controlnet",
        lambda: manifest("svd_xt.diffusers.unet") | {"controlnet_cond_embedding.conv_in.weight": (16, 3, 3, 3)},
    ),
    ("motionctrl", _with({"input_blocks.1.1.time_stack.0.cc_projection.weight": (320, 332)})),
    (
        "cameractrl",
        lambda: (
            manifest("svd_xt.diffusers.unet")
            | {"down_blocks.0.attentions.0.temporal_transformer_blocks.0.attn1.processor.qkv_merge.weight": (320, 320)}
        ),
    ),
    (
        "animatediff",
        lambda: {
            "down_blocks.0.motion_modules.0.temporal_transformer.norm.weight": (320,),
            "down_blocks.0.motion_modules.0.temporal_transformer.proj_in.weight": (320, 320),
        },
    ),
    (
        "sd15",
        lambda: {
            "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight": (320, 768),
            "first_stage_model.decoder.conv_in.weight": (512, 4, 3, 3),
            "cond_stage_model.transformer.text_model.encoder.layers.0.mlp.fc1.weight": (3072, 768),
        },
    ),
    ("sd2", lambda: {"down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k.weight": (320, 1024)}),
    (
        "sdxl",
        lambda: {
            "model.diffusion_model.label_emb.0.0.weight": (1280, 2816),
            "model.diffusion_model.output_blocks.0.0.in_layers.0.weight": (2560,),
        },
    ),
    ("flux", lambda: {"double_blocks.0.img_attn.qkv.weight": (9, 3), "single_blocks.0.linear1.weight": (9, 3)}),
    ("wan", lambda: {"blocks.0.self_attn.q.weight": (9, 9), "patch_embedding.weight": (9, 16, 1, 2, 2)}),
    ("ltx", lambda: {"patchify_proj.weight": (9, 9), "transformer_blocks.0.scale_shift_table": (6, 9)}),
    ("t5", lambda: {"encoder.block.0.layer.0.SelfAttention.q.weight": (9, 9)}),
    ("clip_text", lambda: {"text_model.encoder.layers.0.mlp.fc1.weight": (9, 9)}),
    ("clip_vision", lambda: manifest("svd_xt.diffusers.image_encoder")),
    ("vae", lambda: manifest("svd_xt.diffusers.vae")),
    ("unknown", lambda: {"something.weight": (3,)}),
]


@pytest.mark.parametrize(("family", "shapes"), FOREIGN, ids=[family for family, _ in FOREIGN])
def test_foreign_models_are_refused_by_name(tmp_path: Path, family: str, shapes: Callable[[], Shapes]) -> None:
    facts = inspect(sparse_file(tmp_path / "model.safetensors", shapes()))
    assert (facts["kind"], facts["family"]) == ("other", family)
    refusal = str(facts["refusal"])
    assert refusal.startswith("Expected a Stable Video Diffusion or SV3D model; found ")
    assert str(facts["name"]) in refusal


def test_missing_unexpected_and_mismatched_are_listed(tmp_path: Path) -> None:
    shapes = manifest("svd_xt.sgm")
    del shapes[UNET + "input_blocks.4.0.in_layers.0.weight"]
    shapes[UNET + "input_blocks.4.0.extra.weight"] = (3,)
    shapes[UNET + "input_blocks.5.0.in_layers.0.bias"] = (641,)
    shapes["stray.weight"] = (3,)
    facts = inspect(sparse_file(tmp_path / "svd_xt.safetensors", shapes))
    assert facts["missing"] == [UNET + "input_blocks.4.0.in_layers.0.weight"]
    assert facts["unexpected"] == [UNET + "input_blocks.4.0.extra.weight", "stray.weight"]
    assert facts["unexpected_inside"] == [UNET + "input_blocks.4.0.extra.weight"]
    assert [entry["found"] for entry in facts["mismatched"]] == [(641,)]  # type: ignore[union-attr]


@pytest.mark.parametrize("config", [TINY, SMALL, NANO], ids=lambda config: config.name)
@pytest.mark.parametrize("places", [SGM, DIFFUSERS], ids=["sgm", "diffusers"])
def test_sizes_are_read_from_shapes(config: object, places: object) -> None:
    """Everything shapes can tell, at sizes far from SVD's; the rest is named in the notes."""
    from svd_core.weights.keymaps import rules_from

    rules = [rule for table in rules_from(places, config).values() for rule in table]  # type: ignore[arg-type]
    shapes = {name: shape for rule in rules for name, shape in zip(rule.sources, rule.shapes, strict=True)}
    checkpoint = _in_memory(shapes)
    detection = detect(checkpoint)
    assert detection.config is not None
    assert isinstance(config, type(detection.config))
    unseen = {"head_channels", "norm_groups"}
    for part in ("unet", "autoencoder", "image_encoder"):
        ours, found = getattr(config, part), getattr(detection.config, part)
        names = {field.name for field in dataclasses.fields(ours)} - unseen - {"scale_factor", "heads"}
        assert {name: getattr(found, name) for name in names} == {name: getattr(ours, name) for name in names}


def _in_memory(shapes: Shapes) -> Checkpoint:
    from svd_core.weights.reader import TensorInfo

    tensors = {
        name: TensorInfo(file=Path("x"), name=name, dtype="F16", shape=shape, start=0, nbytes=0)
        for name, shape in shapes.items()
    }
    return Checkpoint(path=Path("x.safetensors"), tensors=tensors, metadata={})


def test_foreign_vector_widths_and_uneven_heads_are_refused(tmp_path: Path) -> None:
    shapes = _bare(manifest("svd_xt.sgm"))
    shapes["label_emb.0.0.weight"] = (1280, 1000)
    with pytest.raises(UnsupportedModelError, match="found 1000"):
        _detect(sparse_file(tmp_path / "a.safetensors", shapes))


@pytest.mark.parametrize(
    "change",
    [
        {"family": "sora"},
        {"unet": {"res_blocks": 10**9}},
        {"unet": {"channels": [64] * 1000}},
        {"unet": {"channels": "big"}},
        {"unet": {"norm_groups": 0}},
        {"autoencoder": {"channels": [1.5]}},
        {"image_encoder": {"layers": 10**6}},
        {"sampling": {"sigma_max": float("inf")}},
    ],
    ids=str,
)
def test_hostile_configs_in_metadata_are_refused(tmp_path: Path, change: dict[str, object]) -> None:
    tree = json.loads(NANO.to_json())
    for name, value in change.items():
        tree[name] = tree[name] | value if isinstance(value, dict) else value
    path = sparse_file(
        tmp_path / "x.safetensors",
        {"middle_block.0.time_stack.in_layers.0.weight": (3,)},
        metadata={"svd_studio.config": json.dumps(tree)},
    )
    with pytest.raises(FileFormatError, match="usable model config"):
        _detect(path)


def test_an_svd_file_with_unreadable_sizes_is_a_sentence(tmp_path: Path) -> None:
    shapes = _bare(manifest("svd_xt.sgm"))
    for name in ("label_emb.0.0.weight", "input_blocks.0.0.weight"):
        for shape in ((), (0, 0)):
            path = sparse_file(tmp_path / "svd.safetensors", shapes | {name: shape})
            with pytest.raises(SvdError, match="Expected a full tensor"):
                _detect(path)


def test_inspect_imports_no_torch(tmp_path: Path) -> None:
    path = sparse_file(tmp_path / "svd_xt.safetensors", manifest("svd_xt.sgm"))
    code = (
        "import sys, svd_core.weights as w; facts = w.inspect(sys.argv[1]);"
        "assert facts['family'] == 'svd'; assert 'torch' not in sys.modules; assert 'numpy' not in sys.modules"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code, str(path)], cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
