"""The list of nodes. What each does stands in its own file; everything heavy is imported when a node runs."""

from __future__ import annotations

from .apply_camera import SVDStudioApplyCamera
from .condition import SVDStudioImageConditioning
from .decode import SVDStudioDecode
from .guidance import SVDStudioGuidance
from .host import ComfyExtension, io
from .info import SVDStudioInfo
from .load import SVDStudioLoadModel
from .orbit import SVDStudioOrbit
from .sample import SVDStudioSampler
from .save import SVDStudioSaveClip

NODES: tuple[type[io.ComfyNode], ...] = (
    SVDStudioLoadModel,
    SVDStudioInfo,
    SVDStudioImageConditioning,
    SVDStudioGuidance,
    SVDStudioSampler,
    SVDStudioDecode,
    SVDStudioSaveClip,
    SVDStudioOrbit,
    SVDStudioApplyCamera,
)


class SVDStudioExtension(ComfyExtension):
    """What the host asks the pack for."""

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        """Every node of the pack."""
        return list(NODES)
