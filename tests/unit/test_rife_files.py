"""RIFE files as artists have them: of torch.save in both formats, safetensors, hostile ones; and what inspect says."""

from __future__ import annotations

import io
import json
import os
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from svd_core.errors import FileFormatError, InputError, SvdError, UnsupportedModelError
from svd_core.weights import inspect, load_interpolator
from svd_core.weights.mapped import MappedFiles
from svd_core.weights.pickled import read_pickled
from tests.command_line import run_here
from tests.rife import recorded, weights

NAME = "4.17 lite"


@pytest.fixture(scope="module")
def tensors() -> dict[str, Tensor]:
    return weights(recorded()[NAME].shapes)


def contents(path: Path) -> dict[str, Tensor]:
    with MappedFiles() as files:
        return {name: files.tensor(info).clone() for name, info in read_pickled(path).tensors.items()}


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_tensors_of_torch_save_are_found_where_they_lie(zipped: bool, tmp_path: Path) -> None:
    whole = torch.arange(24.0).view(4, 6)
    table = OrderedDict(
        whole=whole,
        rows=whole[1:3],
        half=whole.half(),
        brain=whole.bfloat16(),
        parameter=torch.nn.Parameter(whole + 1),
        empty=torch.zeros(0, 3),
        scalar=torch.tensor(2.5),
        numbers=torch.arange(5),
    )
    torch.save({"epoch": 3, "model": table}, tmp_path / "a.pth", _use_new_zipfile_serialization=zipped)
    found = read_pickled(tmp_path / "a.pth").tensors
    assert set(found) == {f"model.{name}" for name in table}
    assert found["model.numbers"].dtype == "I64"
    with MappedFiles() as files:
        for name, tensor in table.items():
            if name != "numbers":
                assert torch.equal(files.tensor(found[f"model.{name}"]), tensor.detach()), name


def test_a_module_s_own_table_reads_too(tmp_path: Path) -> None:
    module = torch.nn.Conv2d(3, 4, 3)
    torch.save(module.state_dict(), tmp_path / "conv.pkl")
    found = contents(tmp_path / "conv.pkl")
    assert torch.equal(found["weight"], module.weight) and torch.equal(found["bias"], module.bias)


class Hostile:
    """Pickles as a call of anything."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


def hostile_files(folder: Path, payload: object) -> list[Path]:
    raw = folder / "raw.pkl"
    raw.write_bytes(pickle.dumps(payload, protocol=2))
    zipped, inside = folder / "zip.pth", io.BytesIO()
    pickle.dump({"block0": payload}, inside, protocol=2)
    with zipfile.ZipFile(zipped, "w") as archive:
        archive.writestr("archive/data.pkl", inside.getvalue())
    # As the first of the legacy format's pickles and as its third.
    legacy = folder / "legacy.pth"
    legacy.write_bytes(
        pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(1001, 2) + pickle.dumps(payload, protocol=2)
    )
    return [raw, zipped, legacy]


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        (os.system, ("touch {mark}",)),
        (eval, ("open('{mark}', 'w')",)),
        (exec, ("open('{mark}', 'w')",)),
        (open, ("{mark}", "w")),
        (getattr, ("{mark}", "upper")),
        (__import__, ("os",)),
        (torch.load, ("{mark}",)),
        (torch.zeros, ((3,),)),
        (os.mkdir, ("{mark}",)),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_pickles_that_ask_for_more_run_nothing(function: Any, arguments: tuple[Any, ...], tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    filled = [text.replace("{mark}", str(mark)) if isinstance(text, str) else text for text in arguments]
    for path in hostile_files(tmp_path, Hostile(function, *filled)):
        for read in (read_pickled, load_interpolator, inspect):
            with pytest.raises(SvdError) as raised:
                read(path)
            assert str(raised.value).startswith("Expected ") and "found" in str(raised.value)
        with pytest.raises(FileFormatError, match=r"a pickle that asks for|another pickle"):
            read_pickled(path)
        assert not mark.exists(), f"{path.name} ran {function}"


def test_what_may_be_named_cannot_be_bent(tmp_path: Path) -> None:
    """Attributes set on an allowed name must not reach the next file."""
    opcodes = b"\x80\x02ccollections\nOrderedDict\nN}X\x06\x00\x00\x00mangleK\x01s\x86b."
    for code in (opcodes, opcodes.replace(b"collections\nOrderedDict", b"torch._utils\n_rebuild_tensor_v2")):
        path = tmp_path / "bent.pth"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("archive/data.pkl", code)
        with pytest.raises(FileFormatError):
            read_pickled(path)
    assert not hasattr(OrderedDict, "mangle")


def test_a_few_bytes_cannot_take_all_memory(tmp_path: Path) -> None:
    """An entry said to be the 2^31st of the reader's memory, and a text said to be 2^62 bytes long."""
    for code in (b"\x80\x02}r\xff\xff\xff\x7f.", b"\x80\x04\x8d\x00\x00\x00\x00\x00\x00\x00\x40."):
        with zipfile.ZipFile(tmp_path / "bomb.pth", "w") as archive:
            archive.writestr("archive/data.pkl", code)
        with pytest.raises(FileFormatError, match=r"no tensors|breaks off"):
            read_pickled(tmp_path / "bomb.pth")


def test_damage_is_explained(tensors: dict[str, Tensor], tmp_path: Path) -> None:
    torch.save(tensors, tmp_path / "whole.pth")
    raw = (tmp_path / "whole.pth").read_bytes()
    cases = {"cut": raw[: len(raw) // 2], "short": b"PK\x03\x04", "junk": b"\x80\x02junk.", "none": b"\x80"}
    target = tmp_path / "packed.pth"
    with (
        zipfile.ZipFile(tmp_path / "whole.pth") as source,
        zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as packed,
    ):
        for name in source.namelist():
            packed.writestr(name, source.read(name))
    for name, data in cases.items():
        (tmp_path / f"{name}.pth").write_bytes(data)
    for name in (*cases, "packed"):
        with pytest.raises(FileFormatError, match=r"Expected a (whole )?file of torch.save"):
            read_pickled(tmp_path / f"{name}.pth")
    with pytest.raises(FileFormatError, match="do not lie in order"):
        torch.save({"turned": torch.zeros(3, 4).t()}, tmp_path / "turned.pth")
        read_pickled(tmp_path / "turned.pth")
    with pytest.raises(InputError, match="No such file"):
        load_interpolator(tmp_path / "nothing.pth")


def test_a_storage_cannot_point_outside_the_file(tmp_path: Path) -> None:
    torch.save({"weight": torch.zeros(4)}, tmp_path / "small.pth")
    with zipfile.ZipFile(tmp_path / "small.pth") as source:
        parts = {name: source.read(name) for name in source.namelist()}
    main = next(name for name in parts if name.endswith("data.pkl"))
    # The shape (4,) becomes (200,): two bytes of the opcode stream.
    assert parts[main].count(b"K\x04\x85") == 1
    parts[main] = parts[main].replace(b"K\x04\x85", b"K\xc8\x85")
    with zipfile.ZipFile(tmp_path / "far.pth", "w") as archive:
        for name, data in parts.items():
            archive.writestr(name, data)
    with pytest.raises(FileFormatError, match="beyond the end"):
        read_pickled(tmp_path / "far.pth")


@pytest.mark.parametrize("kind", ["safetensors", "pth", "pkl"])
def test_all_kinds_of_files_make_the_same_engine(kind: str, tensors: dict[str, Tensor], tmp_path: Path) -> None:
    path = tmp_path / f"whatever.{kind}"
    named = {f"module.{name}": tensor for name, tensor in tensors.items()}
    if kind == "safetensors":
        save_file(named, path)
    else:
        torch.save(named, path, _use_new_zipfile_serialization=kind == "pth")
    engine = load_interpolator(path)
    assert engine.name == "rife 4.13"
    state = engine.network.state_dict()
    assert torch.equal(state["blocks.3.lastconv.0.weight"], tensors["block3.lastconv.0.weight"])
    facts = inspect(path)
    assert (facts["kind"], facts["family"], facts["layout"]) == ("other", "rife", "4.13")
    assert (facts["widths"], facts["multiple"], facts["tensors"]) == ([128, 96, 64, 48], 32, 128)
    assert "4.14 to 4.17 lite" in str(facts["name"]) and "refusal" not in facts


def test_inspect_says_it_on_the_command_line(
    tensors: dict[str, Tensor], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_file(tensors, tmp_path / "rife.safetensors")
    done = run_here(capsys, "inspect", tmp_path / "rife.safetensors", "--json")
    assert json.loads(done.out)["layout"] == "4.13"
    shapes = {name: tensor for name, tensor in tensors.items() if not name.startswith("block3.")}
    save_file(shapes, tmp_path / "odd.safetensors")
    facts = inspect(tmp_path / "odd.safetensors")
    assert facts["layout"] == "unknown" and "4.7 to 4.9" in str(facts["refusal"])


def test_other_files_are_refused_by_what_they_are(tmp_path: Path) -> None:
    save_file({"decoder.conv_in.weight": torch.zeros(1)}, tmp_path / "vae.safetensors")
    with pytest.raises(UnsupportedModelError, match=r"RIFE weights \(versions 4.0, 4.1"):
        load_interpolator(tmp_path / "vae.safetensors")
    torch.save({"weight": torch.zeros(2)}, tmp_path / "other.pth")
    with pytest.raises(FileFormatError, match="never opened here"):
        inspect(tmp_path / "other.pth")
    (tmp_path / "page.pth").write_bytes(b"<!DOCTYPE html><p>log in</p>")
    with pytest.raises(FileFormatError, match="web page"):
        load_interpolator(tmp_path / "page.pth")


def test_settings_out_of_range_are_explained(tensors: dict[str, Tensor], tmp_path: Path) -> None:
    save_file(tensors, tmp_path / "rife.safetensors")
    for settings, words in (({"flow_scale": 3.0}, "flow scale of 0.25"), ({"batch": 0}, "1 to 64 frames")):
        with pytest.raises(InputError, match=words):
            load_interpolator(tmp_path / "rife.safetensors", **settings)


def zipped(path: Path, code: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", code)
        archive.writestr("archive/data/0", bytes(64))
    return path


TENSOR = (
    b"ctorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000"
    b"X\x03\x00\x00\x00cpuK\x10tQK\x00K\x04\x85K\x01\x85\x89NtR"
)


def test_a_record_once_checked_stays_as_it_is(tmp_path: Path) -> None:
    """Attributes set on a tensor would move it before its storage, or to one that is none."""
    for state in (b"(NK\x00K\x04\x85tb", b"(K\x01J\x00\xf0\xff\xffK\x04\x85tb"):
        code = b"\x80\x02}X\x01\x00\x00\x00w" + TENSOR + state + b"s."
        path = zipped(tmp_path / "bent.pth", code)
        found = read_pickled(path).tensors["w"]
        assert (found.start, found.shape) == (path.read_bytes().index(b"archive/data/0") + 14, (4,))


def test_small_files_cannot_stop_the_program(tmp_path: Path) -> None:
    """A table in itself a hundred times over, and keys of tuples within tuples, too deep to be hashed."""
    names = b"".join(b"X\x02\x00\x00\x00%02dh\x00" % index for index in range(100))
    code = b"\x80\x02}q\x00(" + names + b"X\x01\x00\x00\x00w" + TENSOR + b"u."
    assert set(read_pickled(zipped(tmp_path / "again.pth", code)).tensors) == {"w"}
    for key in (b")" + b"\x85" * 1_000_000, b")" + b"q\x01h\x01\x86" * 60):
        with pytest.raises(FileFormatError, match="without names"):
            read_pickled(zipped(tmp_path / "deep.pth", b"\x80\x02}" + key + b"Ns."))
    # 2^36 bytes of nothing.
    with pytest.raises(FileFormatError, match="breaks off"):
        read_pickled(zipped(tmp_path / "long.pth", b"\x80\x05\x96\x00\x00\x00\x00\x10\x00\x00\x00."))


def test_entries_said_to_be_longer_than_the_file_are_refused(tmp_path: Path) -> None:
    path = zipped(tmp_path / "long.pth", b"\x80\x02}X\x01\x00\x00\x00w" + TENSOR + b"s.")
    raw = path.read_bytes()
    index = raw.rindex(b"archive/data/0") - 46
    sizes = (1 << 20).to_bytes(4, "little") * 2
    path.write_bytes(raw[: index + 20] + sizes + raw[index + 28 :])
    with pytest.raises(FileFormatError, match="beyond its end"):
        read_pickled(path)


def test_safetensors_that_begin_like_a_pickle_are_none(tensors: dict[str, Tensor], tmp_path: Path) -> None:
    path = tmp_path / "rife.safetensors"
    save_file(tensors, path)
    raw = path.read_bytes()
    length = int.from_bytes(raw[:8], "little")
    # The next length whose bytes are those of a pickle of protocol 2.
    wanted = next(size for size in range(length, length + 2**17) if size & 0xFFFF == 0x0280)
    path.write_bytes(wanted.to_bytes(8, "little") + raw[8 : 8 + length] + b" " * (wanted - length) + raw[8 + length :])
    assert path.read_bytes()[:2] == b"\x80\x02"
    assert load_interpolator(path).name == "rife 4.13"


def test_storages_of_other_things_than_named_tensors_are_passed_over(tmp_path: Path) -> None:
    """An optimiser's state, by number and in lists, before the weights."""
    saved = {"optimiser": {0: torch.ones(3), "list": [torch.ones(5)]}, "weight": torch.arange(4.0)}
    for zipped_too in (True, False):
        torch.save(saved, tmp_path / "a.pth", _use_new_zipfile_serialization=zipped_too)
        found = contents(tmp_path / "a.pth")
        assert list(found) == ["weight"] and torch.equal(found["weight"], torch.arange(4.0))
