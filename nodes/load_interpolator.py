"""A RIFE file as a frame interpolator, whatever version it is of and however it is packed."""

from __future__ import annotations

from pathlib import Path

from . import catalog
from .choices import listed, verdict
from .host import io, ui

SOCKET = "FRAME_INTERPOLATION_MODEL,INTERP_MODEL"
"""What hosts call the socket, the older name and the newer."""
_NOTHING = "no RIFE file found"
_DTYPES = ("auto", "float32", "float16", "bfloat16")
_FLOW_SCALES = ("0.25", "0.5", "1", "2")
_MOST_AT_ONCE = 64
_HELP = (
    "Loads RIFE weights of any version from 4.0 to 4.26, lite and heavy ones too, and hands them to SVD Interpolate or "
    "to ComfyUI's own interpolation node. The version is told by the tensors in the file, not by its name. Files "
    "(.pth, .pkl, .safetensors) belong into ComfyUI/models/frame_interpolation or ComfyUI/models/rife."
)


class SVDStudioLoadInterpolator(io.ComfyNode):
    """One list of RIFE files, checked on the node before anything runs."""

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
                    options=catalog.interpolator_names() or [_NOTHING],
                    tooltip="A RIFE file (.pth, .pkl or .safetensors) of ComfyUI/models/frame_interpolation or "
                    "ComfyUI/models/rife.",
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
                    tooltip="Size at which motion is looked for, as a factor: 0.5 for 4K frames and very fast motion, "
                    "2 for small frames with fine detail.",
                ),
                io.Int.Input(
                    "batch",
                    default=1,
                    min=1,
                    max=_MOST_AT_ONCE,
                    tooltip="Frames made at once, of one pair or of several; more is faster on large graphics cards "
                    "and takes that many times the memory.",
                ),
                io.Boolean.Input(
                    "refine",
                    default=False,
                    optional=True,
                    tooltip="Run the colour correction that files of version 4.0 to 4.4 hold and their authors leave "
                    "out; other files have none.",
                ),
            ],
            outputs=[
                io.Custom(SOCKET).Output(
                    "engine_model",
                    display_name="engine_model",
                    tooltip="For engine_model of SVD Interpolate, or for ComfyUI's own interpolation node.",
                ),
                io.String.Output("report", display_name="report", tooltip="Version, size and precision of the file."),
            ],
        )

    @classmethod
    def validate_inputs(
        cls, interpolator_name: str | None, dtype: str | None = None, flow_scale: str | None = None
    ) -> bool | str:
        """Refuse on the node what the header already shows to be impossible."""
        return verdict(
            lambda: listed("dtype", dtype, _DTYPES),
            lambda: listed("flow_scale", flow_scale, _FLOW_SCALES),
            lambda: interpolator_name is None or _check_header(catalog.find_interpolator(interpolator_name)),
        )

    @classmethod
    def fingerprint_inputs(cls, interpolator_name: str | None, **settings: object) -> str:
        """The node runs again when the file was exchanged or a setting changed."""
        file = "" if interpolator_name is None else catalog.fingerprint(catalog.find_interpolator(interpolator_name))
        return "|".join([file, *map(str, settings.values())])

    @classmethod
    def execute(
        cls, interpolator_name: str, dtype: str, flow_scale: str, batch: int, refine: bool = False
    ) -> io.NodeOutput:
        """Build the network; the host's patcher moves it where it runs."""
        from .host_interpolation import load_for_host

        path = catalog.find_interpolator(interpolator_name)
        patcher, report = load_for_host(path, dtype, float(flow_scale), batch, refine)
        return io.NodeOutput(patcher, report, ui=ui.PreviewText(report))


def _check_header(path: Path) -> None:
    """Everything `load_for_host` refuses before it reads a weight.

    Raises:
        SvdError: damaged, no RIFE file, or one of an unknown layout.
    """
    from ..svd_core.weights.rife_file import open_rife

    open_rife(path)
