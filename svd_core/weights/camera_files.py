"""Which of the LoRA files at hand carries a camera preset on a base model: by the tags our own files have."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from ..camera.lora import CameraLora
from ..config import UNetConfig
from ..errors import SvdError
from .fingerprint import same_base
from .lora import load_camera_lora
from .lora_tags import read_tags
from .reader import read_header

SHIPPED = Path(__file__).parent.parent / "assets" / "camera"
"""Where the embedded model's own LoRAs lie."""


@dataclass(slots=True)
class CameraFiles:
    """A `camera.stack.Finder` over folders, searched with all below them in the order given; the shipped files last.

    Headers are read when a preset is first asked for, a file when it is the answer, and each once.
    """

    folders: Iterable[Path] = ()
    config: UNetConfig | None = None
    _tagged: list[tuple[str, str, Path]] | None = None
    _loaded: dict[Path, CameraLora] = field(default_factory=dict[Path, CameraLora])

    def __call__(self, preset: str, base: str | None) -> CameraLora | None:
        """The first LoRA tagged for the preset and the base model's fingerprint.

        Raises:
            SvdError: the file that is tagged so is damaged; see `load_camera_lora`.
        """
        if self._tagged is None:
            self._tagged = [entry for folder in (*self.folders, SHIPPED) for entry in _tagged(folder)]
        path = next(
            (path for name, made_for, path in self._tagged if name == preset and same_base(made_for, base)), None
        )
        if path is None:
            return None
        if path not in self._loaded:
            self._loaded[path] = load_camera_lora(path, config=self.config)
        return self._loaded[path]


def _tagged(folder: Path) -> Iterable[tuple[str, str, Path]]:
    """Preset, base and path of the tagged files; one that cannot be read is no camera LoRA."""
    for path in sorted(folder.rglob("*.safetensors")):
        try:
            tags = read_tags(read_header(path).metadata)
        except (SvdError, OSError):
            continue
        if tags is not None and tags.preset is not None and tags.base is not None:
            yield tags.preset, tags.base, path
