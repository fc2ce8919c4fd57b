"""One thing a sweep varies, chained to those before it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..svd_core.sweep.entries import FILES, KINDS, read_entries
from . import camera_files, catalog, sweeping
from .choices import listed, verdict
from .host import io

if TYPE_CHECKING:
    from ..svd_core.sweep.axes import Axis


class SVDStudioSweepAxis(io.ComfyNode):
    """A name and the values it takes, as SVD_SWEEP_AXIS."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Inputs and outputs as the host shows them."""
        return io.Schema(
            node_id="SVDStudioSweepAxis",
            display_name="SVD Sweep Axis",
            category="SVD Studio",
            description="One thing a sweep varies and the values it takes: numbers, seeds, cameras, pictures, LoRA "
            "files or text. Wire one axis into the next, the last into SVD Sweep Plan.",
            inputs=_inputs(),
            outputs=[
                io.Custom("SVD_SWEEP_AXIS").Output("axis_out", display_name="axis", tooltip="The axes so far."),
            ],
        )

    @classmethod
    def validate_inputs(cls, name: str | None = None, kind: str | None = None, values: str | None = None) -> bool | str:
        """Refuse on the node what cannot be read."""

        def readable() -> None:
            if name is not None and kind is not None and values is not None:
                read_entries(name, kind, values, sweeping.find)

        return verdict(lambda: listed("kind", kind, KINDS), readable)

    @classmethod
    def fingerprint_inputs(
        cls, name: str | None = None, kind: str | None = None, values: str | None = None, **rest: object
    ) -> str:
        """Files and saved cameras count as changed when they are exchanged, or when others match a pattern."""
        if name is None or values is None or kind not in (*FILES, "camera"):
            return ""
        found = [str(value) for value in read_entries(name, kind, values, sweeping.find).values]
        if kind == "camera":
            return "|".join(camera_files.fingerprint(saved) for text in found for saved in sweeping.saved_in(text))
        paths = [sweeping.pictures() / one if kind == "images" else catalog.find_lora(one) for one in found]
        return "|".join(map(catalog.fingerprint, paths))

    @classmethod
    def execute(cls, name: str, kind: str, values: str, axis: tuple[Axis, ...] | None = None) -> io.NodeOutput:
        """The axes before this one, and this one."""
        return io.NodeOutput((*(axis or ()), read_entries(name, kind, values, sweeping.find)))


def _inputs() -> list[io.Input]:
    return [
        io.String.Input(
            "name",
            default="seed",
            tooltip="What the axis is called, in labels, file names and in SVD Sweep Cell: letters, digits and _.",
        ),
        io.Combo.Input(
            "kind",
            options=list(KINDS),
            default="seed",
            tooltip="What the values are: number, seed (whole numbers), camera (moves in words), images (of ComfyUI's "
            "input folder), lora files (names for a loader's list) or text (prompts, words of any list).",
        ),
        io.String.Input(
            "values",
            default="6 from 0",
            multiline=True,
            tooltip="number: 60, 120, 180 or 60 to 180 step 40. seed: 6 from 100 (six seeds, the first is 100) or 3, "
            "14, 15. camera: one a line, pan_left:12 or pan_left:12 + zoom_in:5 or saved: NAME. images: one name, "
            "folder or pattern a line, my_photos/*.png. lora files: one name or pattern a line. text: one a line.",
        ),
        io.Custom("SVD_SWEEP_AXIS").Input(
            "axis", optional=True, tooltip="Axes before this one: every value of theirs meets every value of this one."
        ),
    ]
