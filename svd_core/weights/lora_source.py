"""Which file of a path holds a LoRA: the path itself, or the adapter inside a folder."""

from __future__ import annotations

from pathlib import Path

from ..errors import UnsupportedModelError, explain
from .lora_foreign import motion_lora_by_name
from .lora_scale import ADAPTER_FILES
from .source import Checkpoint, open_checkpoint


def open_lora(path: Path) -> tuple[Path, Checkpoint]:
    """The file and its header; for a folder PEFT or diffusers saved, that of the adapter in it.

    Anything that is no such folder is opened as a checkpoint.

    Raises:
        InputError: nothing readable there, or a folder of several files.
        FileFormatError: damaged, or a pickle.
        UnsupportedModelError: one of AnimateDiff's published pickles, by its name.
    """
    if path.is_dir():
        path = next((path / name for name in ADAPTER_FILES if (path / name).is_file()), path)
    elif path.suffix != ".safetensors" and (foreign := motion_lora_by_name(path)):
        expected = "a LoRA for Stable Video Diffusion or SV3D"
        raise UnsupportedModelError(explain(expected, f"{foreign.name} in {path.name}", foreign.remedy))
    checkpoint = open_checkpoint(path)
    return checkpoint.path if checkpoint.path.is_file() else path, checkpoint
