"""Cameras made together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .host import io

if TYPE_CHECKING:
    from ..svd_core.camera.move import CameraStack


class SVDStudioCameraMix(io.ComfyNode):
    """Up to four cameras as one; their moves add up."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Inputs and outputs as the host shows them."""
        return io.Schema(
            node_id="SVDStudioCameraMix",
            display_name="SVD Camera Mix",
            category="SVD Studio",
            description="Makes the moves of several cameras at the same time: a pan with a zoom, two LoRAs, a sway on "
            "top of anything.",
            inputs=[
                io.Custom("SVD_CAMERA").Input(
                    f"camera_{number}",
                    optional=number > 2,
                    tooltip=f"Camera {number}; from SVD Camera Move, Join, or a loaded LoRA.",
                )
                for number in range(1, 5)
            ],
            outputs=[io.Custom("SVD_CAMERA").Output("camera", display_name="camera", tooltip="All moves together.")],
        )

    @classmethod
    def execute(
        cls,
        camera_1: CameraStack,
        camera_2: CameraStack,
        camera_3: CameraStack | None = None,
        camera_4: CameraStack | None = None,
    ) -> io.NodeOutput:
        from ..svd_core.camera.move import mix

        given = (camera_1, camera_2, camera_3, camera_4)
        return io.NodeOutput(mix(*(camera for camera in given if camera is not None)))
