"""RIFE files: recognised by their tensors, whatever they are called, and made into engines."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch

from ..errors import InputError, WeightsMismatchError, explain, some_keys
from ..interpolation.learned import LearnedEngine
from ..interpolation.networks.rife import Rife
from ..operations import TORCH, Layers, Operations
from ..rife_layouts import RifeConfig, plain_name
from .mapped import MappedFiles
from .rife_file import open_rife
from .source import Checkpoint

FLOW_SCALES = (0.25, 0.5, 1.0, 2.0)
_MOST_AT_ONCE = 64
# Layouts that do not run the colour correction may still carry its tensors.
_NEVER_RUN = ("contextnet.", "unet.")


def load_interpolator(
    source: str | Path,
    *,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
    flow_scale: float = 1.0,
    batch: int = 1,
    refine: bool = False,
) -> LearnedEngine:
    """A file of RIFE 4 weights as an engine for `interpolate`.

    Args:
        source: a .safetensors file, or a .pth or .pkl of torch.save, which is read without running any of it.
        dtype: what the network computes in; flow is summed in float32 in any case.
        device: where it computes.
        flow_scale: below 1 motion is estimated on smaller pictures (0.5 for 4K), above 1 on larger ones.
        batch: frames made at once, of one pair or of several.
        refine: run the colour correction that files of 4.0 to 4.4 have and their authors leave out.

    Raises:
        InputError: no such file, or a scale or batch out of range.
        FileFormatError: a damaged file, or a pickle that asks for more than tensors.
        UnsupportedModelError: no RIFE file, or one of an unknown layout; the known ones are listed.
        WeightsMismatchError: tensors are missing, left over, or of another shape.
    """
    check_settings(flow_scale, batch)
    checkpoint, config = open_rife(Path(source))
    network = build_rife(checkpoint, config, dtype=dtype).to(device)
    network.flow_scale, network.refine = flow_scale, refine
    return LearnedEngine(network, f"rife {config.layout.name}", device=torch.device(device), dtype=dtype, batch=batch)


def check_settings(flow_scale: float, batch: int) -> None:
    """Refuse what no network can work with.

    Raises:
        InputError: a scale that is not in the list, or a batch out of range.
    """
    if flow_scale not in FLOW_SCALES:
        known = ", ".join(f"{scale:g}" for scale in FLOW_SCALES)
        raise InputError(explain(f"a flow scale of {known}", f"{flow_scale:g}", "Take 1, or 0.5 for large frames."))
    if not 1 <= batch <= _MOST_AT_ONCE:
        raise InputError(explain(f"1 to {_MOST_AT_ONCE} frames at once", str(batch), "Take 1; more needs more memory."))


def build_rife(
    checkpoint: Checkpoint, config: RifeConfig, *, dtype: torch.dtype, operations: Operations = TORCH
) -> Rife:
    """The network with the file's weights, ready to run; those already of `dtype` stay views of the file.

    Raises:
        WeightsMismatchError: tensors are missing, left over, or of another shape.
    """
    network = Rife(config, Layers(operations, device="meta", dtype=dtype))
    fill_rife(network, checkpoint, dtype)
    return network


def fill_rife(network: Rife, checkpoint: Checkpoint, dtype: torch.dtype) -> None:
    """Give a network made without memory the file's weights; errors as in `build_rife`."""
    names = {plain: name for name in checkpoint.tensors if (plain := plain_name(name)) is not None}
    expected = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    _check(checkpoint, names, expected)
    with MappedFiles() as files:
        tensors = {plain: files.tensor(checkpoint.tensors[names[plain]]).to(dtype) for plain in expected}
    network.load_state_dict(tensors, strict=True, assign=True)
    network.requires_grad_(False).eval()


def _check(checkpoint: Checkpoint, names: Mapping[str, str], expected: Mapping[str, tuple[int, ...]]) -> None:
    missing = [name for name in expected if name not in names]
    left = [name for name in names if name not in expected and not name.startswith(_NEVER_RUN)]
    shapes = {plain: checkpoint.tensors[name].shape for plain, name in names.items()}
    other = [
        f"{name} {list(shapes[name])} instead of {list(shape)}"
        for name, shape in expected.items()
        if name in shapes and shapes[name] != shape
    ]
    parts = [("missing", missing), ("left over", left), ("of another shape", other)]
    if told := "; ".join(f"{word}: {some_keys(keys)}" for word, keys in parts if keys):
        remedy = "The file is incomplete or changed: download it again."
        raise WeightsMismatchError(explain(f"the tensors of its layout in {checkpoint.path.name}", told, remedy))
