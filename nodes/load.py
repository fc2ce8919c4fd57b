"""Load a model: the embedded one, a checkpoint file or a diffusers folder, as the host's own three objects."""

from __future__ import annotations

from pathlib import Path

from ..svd_core.errors import UnsupportedModelError
from . import catalog
from .choices import listed, verdict
from .host import io

_DTYPES = ("auto", "float32", "float16", "bfloat16")
_NO_COMPANION = "none"
_HELP = (
    "Loads Stable Video Diffusion and SV3D as MODEL, CLIP_VISION and VAE that work with every ComfyUI node. "
    "The embedded model is always there to try things out at 64x64. For full quality put "
    "svd_xt.safetensors (25 frames) or svd.safetensors (14 frames) from huggingface.co/stabilityai into "
    "ComfyUI/models/checkpoints; their licence is Stability AI's community licence."
)


class SVDStudioLoadModel(io.ComfyNode):
    """One list of everything that can be loaded, checked on the node before anything runs."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Inputs and outputs as the host shows them."""
        return io.Schema(
            node_id="SVDStudioLoadModel",
            display_name="Load SVD Model",
            category="SVD Studio",
            description=_HELP,
            inputs=[
                io.Combo.Input(
                    "model",
                    options=catalog.model_names(),
                    tooltip="The embedded model, a file of ComfyUI's checkpoints folder, or a diffusers folder.",
                ),
                io.Combo.Input(
                    "dtype",
                    options=list(_DTYPES),
                    default="auto",
                    tooltip="Number format of the UNet's weights. auto lets ComfyUI choose for this machine; "
                    "float16 and bfloat16 halve the memory, float32 is the reference.",
                ),
                io.Combo.Input(
                    "companion",
                    options=[_NO_COMPANION, *catalog.model_names()],
                    default=_NO_COMPANION,
                    optional=True,
                    tooltip="Only for a file that holds the UNet alone: the full model to take the autoencoder and the "
                    "image encoder from.",
                ),
            ],
            outputs=[
                io.Model.Output("model_out", display_name="model"),
                io.ClipVision.Output("clip_vision", display_name="clip_vision"),
                io.Vae.Output("vae", display_name="vae"),
                io.String.Output(
                    "report", display_name="report", tooltip="What the file holds and what was used of it."
                ),
            ],
        )

    @classmethod
    def validate_inputs(cls, model: str | None, dtype: str | None, companion: str | None = _NO_COMPANION) -> bool | str:
        """Refuse on the node what the header already shows to be impossible."""

        def readable() -> None:
            if model is not None:
                check_headers(catalog.find(model), _companions(companion))

        return verdict(lambda: listed("dtype", dtype, _DTYPES), readable)

    @classmethod
    def fingerprint_inputs(cls, model: str | None, dtype: str | None, companion: str | None = _NO_COMPANION) -> str:
        """The node runs again only when a file was exchanged."""
        paths = [*([] if model is None else [catalog.find(model)]), *_companions(companion)]
        return "|".join([*map(catalog.fingerprint, paths), str(dtype)])

    @classmethod
    def execute(cls, model: str, dtype: str, companion: str = _NO_COMPANION) -> io.NodeOutput:
        """Build the three objects; weights stay in the mapped file until they are used."""
        from .host_model import load_for_host

        loaded = load_for_host(catalog.find(model), dtype, _companions(companion))
        return io.NodeOutput(loaded.model, loaded.clip_vision, loaded.vae, loaded.report)


def _companions(name: str | None) -> list[Path]:
    return [] if name in (None, _NO_COMPANION) else [catalog.find(name)]


def check_headers(path: Path, companions: list[Path]) -> None:
    """Everything `load_model` refuses before it reads a weight.

    Raises:
        SvdError: damaged, of another family, incomplete, or a UNet alone.
    """
    from ..svd_core.weights.companions import complete
    from ..svd_core.weights.detect import detect
    from ..svd_core.weights.inspection import refusal
    from ..svd_core.weights.report import account
    from ..svd_core.weights.source import open_checkpoint

    checkpoint = open_checkpoint(path)
    detection = detect(checkpoint)
    if detection.kind != "model":
        raise UnsupportedModelError(refusal(checkpoint, detection))
    others = tuple(map(open_checkpoint, companions))
    report, _ = account(*complete(checkpoint, detection, others, "conditioner"))
    report.check()
