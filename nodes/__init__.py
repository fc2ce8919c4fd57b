"""The list of nodes. What each does stands in its own file; everything heavy is imported when a node runs."""

from __future__ import annotations

from .condition import SVDStudioImageConditioning
from .decode import SVDStudioDecode
from .guidance import SVDStudioGuidance
from .host import ComfyExtension, io
from .info import SVDStudioInfo
from .load import SVDStudioLoadModel
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
)


class SVDStudioExtension(ComfyExtension):
    """What the host asks the pack for."""

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        """Every node of the pack."""
        return list(NODES)
