"""Cameras one after another."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..svd_core.errors import InputError, explain
from .choices import verdict
from .host import io

if TYPE_CHECKING:
    from ..svd_core.camera.move import CameraStack


class SVDStudioCameraJoin(io.ComfyNode):
    """Up to four cameras as parts of one clip, with a cross-fade at every border."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Inputs and outputs as the host shows them."""
        return io.Schema(
            node_id="SVDStudioCameraJoin",
            display_name="SVD Camera Join",
            category="SVD Studio",
            description="Makes cameras one after another: first the one, then the next. Frame ranges inside a camera "
            "count from the beginning of its part.",
            inputs=[
                *(
                    io.Custom("SVD_CAMERA").Input(
                        f"camera_{number}",
                        optional=number > 2,
                        tooltip=f"The camera of part {number} of the clip.",
                    )
                    for number in range(1, 5)
                ),
                io.Int.Input(
                    "crossfade",
                    default=4,
                    min=0,
                    max=256,
                    tooltip="Frames around each border in which one move slows down while the next gets going; 0 is "
                    "a hard change. Shortened where a part is shorter.",
                ),
                io.String.Input(
                    "starts",
                    default="",
                    optional=True,
                    tooltip="Frames at which the second, third and fourth part begin, for example 8, 16. Empty: all "
                    "parts have the same length.",
                ),
            ],
            outputs=[io.Custom("SVD_CAMERA").Output("camera", display_name="camera", tooltip="The parts in a row.")],
        )

    @classmethod
    def validate_inputs(cls, starts: str | None = None) -> bool | str:
        """Only what is typed; cameras are known later."""
        return verdict(lambda: _frames(starts or ""))

    @classmethod
    def execute(
        cls,
        camera_1: CameraStack,
        camera_2: CameraStack,
        crossfade: int,
        starts: str = "",
        camera_3: CameraStack | None = None,
        camera_4: CameraStack | None = None,
    ) -> io.NodeOutput:
        from ..svd_core.camera.move import join

        given = [camera for camera in (camera_1, camera_2, camera_3, camera_4) if camera is not None]
        return io.NodeOutput(join(*given, crossfade=crossfade, starts=_frames(starts) or None))


def _frames(text: str) -> list[int]:
    words = text.replace(",", " ").replace(";", " ").split()
    if not all(word.isdecimal() and len(word) < 7 for word in words):
        remedy = "Write for example 8, 16, or leave it empty for parts of equal length."
        raise InputError(explain("`starts` as frame numbers", repr(text), remedy))
    return [int(word) for word in words]
