from __future__ import annotations

import json
import random
import struct
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from svd_core.errors import FileFormatError, InputError, SvdError
from svd_core.weights.detect import detect
from svd_core.weights.inspection import inspect
from svd_core.weights.reader import HEADER_LIMIT, read_header
from svd_core.weights.source import open_checkpoint
from tests.checkpoints import header_bytes


def _file(path: Path, header: object, data: bytes = b"") -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return path


def _entry(start: int, end: int, shape: list[object], dtype: object = "U8") -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}


def test_reads_what_the_reference_writer_writes(tmp_path: Path) -> None:
    tensors = {
        "a": torch.arange(6, dtype=torch.float32).reshape(2, 3),
        "b": torch.zeros(5, dtype=torch.bfloat16),
        "scalar": torch.tensor(1.5, dtype=torch.float16),
        "empty": torch.zeros(0, 4),
    }
    path = tmp_path / "model.safetensors"
    save_file(tensors, str(path), {"title": "x"})
    header = read_header(path)
    assert header.metadata == {"title": "x"}
    assert {name: info.shape for name, info in header.tensors.items()} == {
        name: tuple(tensor.shape) for name, tensor in tensors.items()
    }
    info = header.tensors["a"]
    assert path.read_bytes()[info.start : info.start + info.nbytes] == tensors["a"].numpy().tobytes()


def test_zero_length_and_truncated_are_told_apart(tmp_path: Path) -> None:
    empty = tmp_path / "empty.safetensors"
    empty.write_bytes(b"")
    with pytest.raises(FileFormatError, match="an empty file"):
        read_header(empty)
    cut = _file(tmp_path / "cut.safetensors", {"a": _entry(0, 100, [100])}, bytes(40))
    with pytest.raises(FileFormatError, match="cut off"):
        read_header(cut)
    inside = tmp_path / "inside.safetensors"
    inside.write_bytes(header_bytes({"a": (4, 4)})[:-20])
    with pytest.raises(FileFormatError, match="byte header in a file of"):
        read_header(inside)


@pytest.mark.parametrize(
    ("head", "word"),
    [
        (b"PK\x03\x04\x14\x00\x08\x08" + bytes(100), "zip archive.*pickle"),
        (b"\x80\x02}q\x00(X\x05\x00\x00\x00state" + bytes(100), "Python pickle"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "PNG image"),
        (b"GGUF\x03\x00\x00\x00" + bytes(100), "GGUF"),
        (b"<!DOCTYPE html><html><body>login</body></html>", "web page"),
        (b"\n  <html><body>login</body></html>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "Git LFS"),
        (b"\x00\x00\x00\x20ftypisom" + bytes(100), "MP4"),
        (b'{"weight_map": {"a": "b"}}', "JSON text"),
        (bytes(4096), "begins with zeros"),
    ],
)
def test_renamed_files_are_named(tmp_path: Path, head: bytes, word: str) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(head)
    with pytest.raises(FileFormatError, match=word):
        read_header(path)


def test_a_pickle_is_refused_under_any_name(tmp_path: Path) -> None:
    for name in ("model.ckpt", "model.safetensors", "model.pt"):
        torch.save({"a": torch.zeros(3)}, tmp_path / name)
        with pytest.raises(FileFormatError, match="Pickle files can run any code"):
            open_checkpoint(tmp_path / name)


@pytest.mark.parametrize("length", [HEADER_LIMIT + 1, 2**40, 2**63, 2**64 - 1])
def test_absurd_header_sizes_are_refused_at_once(tmp_path: Path, length: int) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(struct.pack("<Q", length) + b'{"a":1}' + bytes(1000))
    started = time.perf_counter()
    with pytest.raises(FileFormatError, match="header said to be"):
        read_header(path)
    assert time.perf_counter() - started < 0.5


@pytest.mark.parametrize(
    ("header", "data", "word"),
    [
        ({"a": _entry(0, 4, [4]), "b": _entry(2, 6, [4])}, 6, "overlap"),
        ({"a": _entry(0, 4, [4]), "b": _entry(6, 8, [2])}, 8, "gap"),
        ({"a": _entry(0, 4, [4])}, 9, "behind the last"),
        ({"a": _entry(0, 4, [5])}, 4, "by its shape"),
        ({"a": _entry(0, 4, [-4])}, 4, "out of range"),
        ({"a": _entry(4, 0, [4])}, 4, "out of range"),
        ({"a": _entry(0, 4, [4.0])}, 4, "out of range"),
        ({"a": _entry(0, 1, [True])}, 1, "out of range"),
        ({"a": _entry(0, 4, [2**70, 0])}, 4, "out of range"),
        ({"a": _entry(0, 4, [4], "Q9")}, 4, "unknown dtype"),
        ({"a": _entry(0, 4, [4], ["U8"])}, 4, "unknown dtype"),
        ({"a": [1, 2]}, 4, "described by"),
        ({"a": {"dtype": "U8", "shape": [4]}}, 4, "described by"),
        ({"a": _entry(0, 4, [4]), "__metadata__": {"x": 3}}, 4, "metadata"),
        ({"a": _entry(0, 4, [4]), "__metadata__": "x"}, 4, "metadata"),
        (b'{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":{}}', 1, "twice"),
        (b'{"\\ud800":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}', 1, "unprintable"),
        (b'{"a": NaN', 1, "no valid JSON"),
        (b'{"a":' + b"[" * 100_000, 0, "no valid JSON"),
        (b'{"a":' + b"9" * 10_000 + b"}", 0, "no valid JSON"),
        (b"[1, 2, 3]", 0, "no JSON object"),
        (b'{"\xff": 1}', 0, "no valid JSON"),
    ],
)
def test_every_rule_of_the_format_is_checked(tmp_path: Path, header: object, data: int, word: str) -> None:
    with pytest.raises(FileFormatError, match=word):
        read_header(_file(tmp_path / "x.safetensors", header, bytes(data)))


def test_missing_paths_and_devices_are_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        open_checkpoint(tmp_path / "nothing.safetensors")
    with pytest.raises(InputError, match="Name the file you mean"):
        (tmp_path / "many").mkdir()
        for name in "ab":
            _file(tmp_path / "many" / f"{name}.safetensors", {})
        open_checkpoint(tmp_path / "many")


def test_shards_are_joined_and_checked(tmp_path: Path) -> None:
    index = tmp_path / "diffusion_pytorch_model.safetensors.index.json"
    save_file({"a": torch.zeros(2)}, str(tmp_path / "one.safetensors"))
    save_file({"b": torch.zeros(3)}, str(tmp_path / "two.safetensors"))
    index.write_text(json.dumps({"weight_map": {"a": "one.safetensors", "b": "two.safetensors"}}))
    assert open_checkpoint(tmp_path).tensors["b"].file.name == "two.safetensors"
    index.write_text(json.dumps({"weight_map": {"a": "two.safetensors"}}))
    with pytest.raises(FileFormatError, match="none for a"):
        open_checkpoint(tmp_path)
    for name in ("../one.safetensors", "/etc/passwd", "c:\\x.safetensors", 7):
        index.write_text(json.dumps({"weight_map": {"a": name}}))
        with pytest.raises(FileFormatError, match="weight_map"):
            open_checkpoint(tmp_path)


def test_a_folder_of_pickles_is_refused(tmp_path: Path) -> None:
    (tmp_path / "unet").mkdir()
    (tmp_path / "unet" / "diffusion_pytorch_model.bin").write_bytes(b"PK\x03\x04")
    with pytest.raises(FileFormatError, match="pickles only"):
        open_checkpoint(tmp_path)


def test_fuzzed_headers_never_crash_hang_or_grow(tmp_path: Path) -> None:
    """10,000 mutations of a header, through the reader, detection and the report."""
    shapes = {
        "middle_block.0.time_stack.in_layers.0.weight": (8,),
        "middle_block.0.time_stack.in_layers.2.weight": (8, 8, 3, 1, 1),
        "middle_block.1.transformer_blocks.0.attn2.to_k.weight": (8, 4),
        "input_blocks.0.0.weight": (8, 8, 3, 3),
        "input_blocks.1.0.out_layers.3.weight": (8, 8, 3, 3),
        "label_emb.0.0.weight": (32, 768),
        "out.2.weight": (4, 8, 3, 3),
    }
    original = header_bytes(shapes, metadata={"svd_studio.config": "{}", "title": "x"})
    body = bytes(2 * sum(torch.Size(shape).numel() for shape in shapes.values()))
    rng = random.Random(0)
    path = tmp_path / "fuzz.safetensors"
    path.touch()
    resource = pytest.importorskip("resource")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started, refused = time.process_time(), 0
    # Rewritten in place: some file systems flush a file that is truncated to nothing first.
    with path.open("r+b", buffering=0) as file:
        for _ in range(10_000):
            file.seek(0)
            file.write(_mutated(original, rng) + body)
            file.truncate()
            try:
                inspect(path)
            except SvdError as error:
                refused += 1
                assert 20 < len(str(error)) < 2000
    seconds = time.process_time() - started
    growth = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert refused > 5_000, f"only {refused} of 10,000 mutations refused: the fuzz is too gentle"
    assert seconds < 60, f"{seconds:.1f} s for 10,000 headers, limit 60"
    assert growth < 100, f"memory grew by {growth:.0f} MB, limit 100"


def _mutated(original: bytes, rng: random.Random) -> bytes:
    data = bytearray(original)
    numbers = (b"-1", b"0", b"1e999", b"99999999999999999999", b"9223372036854775807", b"null", b'"x"', b"[]", b"true")
    for _ in range(rng.choice((1, 1, 2, 5))):
        position = rng.randrange(len(data))
        match rng.randrange(6):
            case 0:
                data[position] = rng.randrange(256)
            case 1:
                del data[position : position + rng.randrange(1, 40)]
            case 2:
                data[position:position] = data[rng.randrange(len(data)) :][: rng.randrange(1, 60)]
            case 3:
                data[position:position] = rng.choice(numbers)
            case 4:
                data[:8] = struct.pack("<Q", rng.choice((0, 1, 7, len(data), rng.getrandbits(64), rng.getrandbits(20))))
            case _:
                digits = [index for index, byte in enumerate(data[8:], 8) if byte in b"0123456789"]
                if digits:
                    index = rng.choice(digits)
                    data[index : index + 1] = rng.choice(numbers)
        if len(data) < 10:
            break
    if rng.random() < 0.6 and len(data) > 8:
        # A consistent length prefix lets the mutation reach the checks behind the first one.
        data[:8] = struct.pack("<Q", len(data) - 8)
    return bytes(data)


def test_detection_of_an_empty_header(tmp_path: Path) -> None:
    detection = detect(open_checkpoint(_file(tmp_path / "x.safetensors", {})))
    assert detection.kind == "other"
    assert detection.family == "unknown"
