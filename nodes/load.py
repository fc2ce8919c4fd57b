"""Load a model: the embedded one, a checkpoint file or a diffusers folder, as the host's own three objects."""

from __future__ import annotations

from ..svd_core.errors import SvdError
from . import catalog
from .host import io

_DTYPES = ("auto", "float32", "float16", "bfloat16")
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
    def validate_inputs(cls, model: str) -> bool | str:
        """Refuse on the node what the header already shows to be impossible."""
        from ..svd_core.weights.inspection import inspect

        try:
            facts = inspect(catalog.find(model))
        except SvdError as error:
            return str(error)
        return True if facts["kind"] == "model" else str(facts.get("refusal") or _not_a_model(model, facts))

    @classmethod
    def fingerprint_inputs(cls, model: str, dtype: str) -> str:
        """The node runs again only when the file was exchanged."""
        return catalog.fingerprint(catalog.find(model)) + dtype

    @classmethod
    def execute(cls, model: str, dtype: str) -> io.NodeOutput:
        """Build the three objects; weights stay in the mapped file until they are used."""
        from .host_model import load_for_host

        loaded = load_for_host(catalog.find(model), dtype)
        return io.NodeOutput(loaded.model, loaded.clip_vision, loaded.vae, loaded.report)


def _not_a_model(name: str, facts: dict[str, object]) -> str:
    return f"Expected a Stable Video Diffusion or SV3D model; found a {facts['kind']} in {name}. Choose another file."
