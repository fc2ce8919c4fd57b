"""A frame interpolator from a file: RIFE of whatever version, or the paper's video network with its base model."""

from __future__ import annotations

from pathlib import Path

from . import catalog
from .choices import listed, verdict
from .conditioning_parts import MAX_SEED
from .host import io, ui

SOCKET = "FRAME_INTERPOLATION_MODEL,INTERP_MODEL"
"""What hosts call the socket, the older name and the newer."""
_DTYPES = ("auto", "float32", "float16", "bfloat16")
_FLOW_SCALES = ("0.25", "0.5", "1", "2")
_MOST_AT_ONCE = 64
_HELP = (
    "Loads a frame interpolator and hands it to SVD Interpolate or to ComfyUI's own interpolation node: RIFE weights "
    "of any version from 4.0 to 4.26, lite and heavy ones too, or a video interpolator that svd train interpolator "
    "wrote, such as the embedded model's. Which of them is told by the tensors in the file, not by its name. Files "
    "(.pth, .pkl, .safetensors) belong into ComfyUI/models/frame_interpolation or ComfyUI/models/rife."
)


class SVDStudioLoadInterpolator(io.ComfyNode):
    """One list of files, checked on the node before anything runs."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Inputs and outputs as the host shows them."""
        return io.Schema(
            node_id="SVDStudioLoadInterpolator",
            display_name="Load SVD Interpolator",
            category="SVD Studio",
            description=_HELP,
            inputs=[
                io.Combo.Input(
                    "interpolator_name",
                    options=catalog.interpolator_names(),
                    tooltip="A file (.pth, .pkl or .safetensors) of ComfyUI/models/frame_interpolation or "
                    "ComfyUI/models/rife, or the embedded model's own, made for 64x64 pixels to try things out.",
                ),
                io.Combo.Input(
                    "dtype",
                    options=list(_DTYPES),
                    default="auto",
                    tooltip="Number format of the network: auto takes float16 on graphics cards that are fast with it; "
                    "float32 is the reference. Motion is summed in float32 in any case.",
                ),
                io.Combo.Input(
                    "flow_scale",
                    options=list(_FLOW_SCALES),
                    default="1",
                    tooltip="RIFE: size at which motion is looked for, as a factor: 0.5 for 4K frames and very fast "
                    "motion, 2 for small frames with fine detail.",
                ),
                io.Int.Input(
                    "batch",
                    default=1,
                    min=1,
                    max=_MOST_AT_ONCE,
                    tooltip="RIFE: frames made at once, of one pair or of several; more is faster on large graphics "
                    "cards and takes that many times the memory.",
                ),
                io.Boolean.Input(
                    "refine",
                    default=False,
                    optional=True,
                    tooltip="RIFE: run the colour correction that files of version 4.0 to 4.4 hold and their authors "
                    "leave out; other files have none.",
                ),
                io.Combo.Input(
                    "base",
                    options=catalog.model_names(),
                    default=catalog.EMBEDDED,
                    optional=True,
                    tooltip="Video interpolator: the model it was trained on, whose autoencoder and image encoder it "
                    "works with. Another one is refused.",
                ),
                io.Int.Input(
                    "steps",
                    default=25,
                    min=1,
                    max=1000,
                    optional=True,
                    tooltip="Video interpolators that sample from noise (Framer's, and those trained with --form "
                    "masked; the report says so): sampling steps between two frames. No effect on other files.",
                ),
                io.Int.Input(
                    "seed",
                    default=0,
                    min=0,
                    max=MAX_SEED,
                    control_after_generate=False,
                    optional=True,
                    tooltip="The same files: seed of the noise, the same for every two frames.",
                ),
            ],
            outputs=[
                io.Custom(SOCKET).Output(
                    "engine_model",
                    display_name="engine_model",
                    tooltip="For engine_model of SVD Interpolate, or for ComfyUI's own interpolation node.",
                ),
                io.String.Output("report", display_name="report", tooltip="What the file is, its size and precision."),
            ],
        )

    @classmethod
    def validate_inputs(
        cls,
        interpolator_name: str | None,
        dtype: str | None = None,
        flow_scale: str | None = None,
        base: str | None = catalog.EMBEDDED,
    ) -> bool | str:
        """Refuse on the node what the header already shows to be impossible."""
        return verdict(
            lambda: listed("dtype", dtype, _DTYPES),
            lambda: listed("flow_scale", flow_scale, _FLOW_SCALES),
            lambda: interpolator_name is None or _check_header(catalog.find_interpolator(interpolator_name), base),
        )

    @classmethod
    def fingerprint_inputs(
        cls, interpolator_name: str | None, base: str | None = catalog.EMBEDDED, **settings: object
    ) -> str:
        """The node runs again when a file was exchanged or a setting changed."""
        found = [] if interpolator_name is None else [catalog.find_interpolator(interpolator_name)]
        files = [*found, *([] if base is None else [catalog.find(base)])]
        return "|".join([*map(catalog.fingerprint, files), *map(str, settings.values())])

    @classmethod
    def execute(
        cls,
        interpolator_name: str,
        dtype: str,
        flow_scale: str,
        batch: int,
        refine: bool = False,
        base: str = catalog.EMBEDDED,
        steps: int = 25,
        seed: int = 0,
    ) -> io.NodeOutput:
        """Build the network; the host's patcher moves it where it runs."""
        from .host_interpolation import load_for_host

        path = catalog.find_interpolator(interpolator_name)
        patcher, report = load_for_host(path, catalog.find(base), dtype, float(flow_scale), batch, refine, steps, seed)
        return io.NodeOutput(patcher, report, ui=ui.PreviewText(report))


def _check_header(path: Path, base: str | None) -> None:
    """Everything `load_for_host` refuses before it reads a weight.

    Raises:
        SvdError: damaged, no interpolator, one of an unknown layout, or a base that cannot be loaded.
    """
    from ..svd_core.weights.rife_file import open_rife
    from ..svd_core.weights.video_interpolators import is_video_interpolator, read_interpolator_config
    from .load import check_headers

    if not is_video_interpolator(path):
        open_rife(path)
        return
    read_interpolator_config(path)
    if base is not None:
        check_headers(catalog.find(base), [])
