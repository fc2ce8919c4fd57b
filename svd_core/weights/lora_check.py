"""Whether a file is a LoRA that can be used, as far as that shows without its weights and without torch."""

from __future__ import annotations

from pathlib import Path

from ..config import UNetConfig
from ..errors import UnsupportedModelError, explain
from .detect import detect
from .lora_facts import EXPECTED, LoraFacts, lora_facts
from .lora_source import open_lora
from .source import Checkpoint


def check_lora(path: Path, config: UNetConfig | None = None) -> tuple[Path, Checkpoint, LoraFacts]:
    """The file a path means, its header, and what it says; `config` as in `load_camera_lora`.

    Raises:
        InputError, FileFormatError, UnsupportedModelError, WeightsMismatchError: as in `load_camera_lora`.
    """
    file, checkpoint = open_lora(path)
    detection = detect(checkpoint)
    if detection.kind != "lora":
        name = detection.foreign.name if detection.foreign else "a whole model"
        remedy = "Load models with the model loader; a LoRA is a smaller file of its own."
        raise UnsupportedModelError(explain(EXPECTED, f"{name} in {checkpoint.path.name}", remedy))
    facts = lora_facts(checkpoint, file, config)
    if facts.fault:
        raise facts.fault
    return file, checkpoint, facts
