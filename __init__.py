"""The ComfyUI end of SVD Studio. Nothing happens here until the host asks for the nodes."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .nodes import SVDStudioExtension

WEB_DIRECTORY = "./web"


async def comfy_entrypoint() -> SVDStudioExtension:
    """The pack's nodes, called once by the host while it starts.

    The host shortens an error to one line, so the whole of it goes to the log first.
    """
    try:
        from .nodes import SVDStudioExtension
    except Exception:
        logging.getLogger(__name__).exception("SVD Studio could not be loaded")
        raise
    return SVDStudioExtension()
