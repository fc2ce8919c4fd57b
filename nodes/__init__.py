"""The list of nodes. What each does stands in its own file; everything heavy is imported when a node runs."""

from __future__ import annotations

from .apply_camera import SVDStudioApplyCamera
from .camera_join import SVDStudioCameraJoin
from .camera_load import SVDStudioLoadCamera
from .camera_mix import SVDStudioCameraMix
from .camera_move import SVDStudioCameraMove
from .camera_preview import SVDStudioCameraPreview
from .camera_save import SVDStudioSaveCamera
from .catalog import CAMERA_LORAS, register_interpolators
from .condition import SVDStudioImageConditioning
from .contact_sheet import SVDStudioContactSheet
from .decode import SVDStudioDecode
from .guidance import SVDStudioGuidance
from .host import ComfyExtension, io, register_folder
from .host_server import add_routes, at_shutdown
from .in_between import SVDStudioInBetween
from .info import SVDStudioInfo
from .interpolate import SVDStudioInterpolate
from .load import SVDStudioLoadModel
from .load_camera_lora import SVDStudioLoadCameraLora
from .load_interpolator import SVDStudioLoadInterpolator
from .measure_camera import SVDStudioMeasureCamera
from .orbit import SVDStudioOrbit
from .sample import SVDStudioSampler
from .save import SVDStudioSaveClip
from .sweep_axis import SVDStudioSweepAxis
from .sweep_cell import SVDStudioSweepCell
from .sweep_plan import SVDStudioSweepPlan
from .sweep_routes import close, routes
from .sweep_value import SVDStudioSweepValue
from .train_camera import SVDStudioTrainCameraLora

NODES: tuple[type[io.ComfyNode], ...] = (
    SVDStudioLoadModel,
    SVDStudioInfo,
    SVDStudioImageConditioning,
    SVDStudioGuidance,
    SVDStudioSampler,
    SVDStudioDecode,
    SVDStudioInterpolate,
    SVDStudioLoadInterpolator,
    SVDStudioInBetween,
    SVDStudioSaveClip,
    SVDStudioOrbit,
    SVDStudioCameraMove,
    SVDStudioCameraMix,
    SVDStudioCameraJoin,
    SVDStudioCameraPreview,
    SVDStudioSaveCamera,
    SVDStudioLoadCamera,
    SVDStudioLoadCameraLora,
    SVDStudioApplyCamera,
    SVDStudioMeasureCamera,
    SVDStudioTrainCameraLora,
    SVDStudioSweepAxis,
    SVDStudioSweepPlan,
    SVDStudioSweepCell,
    SVDStudioSweepValue,
    SVDStudioContactSheet,
)


class SVDStudioExtension(ComfyExtension):
    """What the host asks the pack for."""

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        """Every node of the pack; the folder for camera LoRAs and the routes of sweeps are known from here on."""
        register_folder(CAMERA_LORAS)
        register_interpolators()
        add_routes(routes())
        at_shutdown(close)
        return list(NODES)
