"""What a RIFE file is, from its header alone and without torch."""

from __future__ import annotations

from pathlib import Path

from ..errors import SvdError, UnsupportedModelError, explain
from ..rife_layouts import LAYOUTS, RifeConfig, rife_config
from .pickled import is_pickled, read_pickled
from .source import Checkpoint, open_checkpoint


def open_rife(path: Path) -> tuple[Checkpoint, RifeConfig]:
    """The tensors and config of a RIFE file, safetensors or of torch.save.

    Raises:
        InputError: nothing readable there.
        FileFormatError: damaged, or a pickle that asks for more than tensors.
        UnsupportedModelError: something else, or a layout that is not known; the known ones are listed.
    """
    pickled = path.is_file() and is_pickled(path)
    checkpoint = (
        Checkpoint(path=path, tensors=read_pickled(path).tensors, metadata={}) if pickled else open_checkpoint(path)
    )
    config = config_of(checkpoint)
    if config is None:
        known = ", ".join(row.versions for row in LAYOUTS)
        expected = f"RIFE weights (versions {known})"
        remedy = "Take the flownet file of one of these versions, 4.25 for example."
        raise UnsupportedModelError(explain(expected, f"tensors of something else in {path.name}", remedy))
    return checkpoint, config


def config_of(checkpoint: Checkpoint) -> RifeConfig | None:
    """The config of a checkpoint that holds RIFE weights; None for any other.

    Raises:
        UnsupportedModelError: an unknown layout of RIFE.
    """
    return rife_config({name: info.shape for name, info in checkpoint.tensors.items()})


def rife_facts(checkpoint: Checkpoint) -> dict[str, object] | None:
    """What `inspect` says of RIFE weights beyond the basics; None for anything else."""
    try:
        config = config_of(checkpoint)
    except SvdError as error:
        return {"family": "rife", "layout": "unknown", "name": "RIFE of an unknown layout", "refusal": str(error)}
    if config is None:
        return None
    return {
        "family": "rife",
        "layout": config.layout.name,
        "name": f"frame interpolator RIFE {config.layout.versions}",
        "widths": list(config.widths),
        "multiple": config.multiple(),
        "use": "SVD Interpolate with Load SVD Interpolator, or svd interpolate --engine rife:FILE",
    }
