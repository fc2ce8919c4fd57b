"""The contact sheet of a sweep, drawn from its record at any time."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..svd_core.errors import InputError, explain
from . import sweeping
from .host import io, ui

if TYPE_CHECKING:
    from torch import Tensor

    from ..svd_core.sweep.plan import Plan


class SVDStudioContactSheet(io.ComfyNode):
    """Labelled rows and columns, holes for what is missing, as a picture, a moving picture and a web page."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Inputs and outputs as the host shows them."""
        return io.Schema(
            node_id="SVDStudioContactSheet",
            display_name="SVD Contact Sheet",
            category="SVD Studio",
            description="Draws all clips of a sweep with labels and measurements, finished or not, and writes "
            "sheet.png and sheet.html (and sheet.webp, moving) into its folder. A sweep leaves this node out of its "
            "own prompts.",
            is_output_node=True,
            inputs=_inputs(),
            outputs=[
                io.Image.Output("image", display_name="image", tooltip="The pages, one picture each, of one size."),
                io.String.Output("files", display_name="files", tooltip="The files written, one a line."),
            ],
        )

    @classmethod
    def fingerprint_inputs(cls, sweep: str | None = None, **rest: object) -> float:
        """Drawn anew every time: clips come in while the graph stays as it is."""
        return float("nan")

    @classmethod
    def execute(
        cls,
        sweep: str,
        rows: str = "",
        columns: str = "",
        height: int = 96,
        moving: bool = False,
        plan: Plan | None = None,
    ) -> io.NodeOutput:
        """Draw, write and show it."""
        from ..svd_core.sweep.sheet_files import draw
        from ..svd_core.sweep.sheets import SheetStyle

        try:
            folder = folder_of(sweep if plan is None else plan.name)
        except InputError as error:
            # Queued before the sweep was: the rest of the graph has its clip to make.
            return io.NodeOutput(_words(str(error)), "", ui=ui.PreviewText(str(error)))
        axes = {"rows": rows.strip() or None, "columns": columns.strip() or None}
        pages, others = draw(folder, **axes, moving=moving, style=SheetStyle(height=height))
        subfolder = f"{sweeping.root().name}/{folder.name}"
        shown = [ui.SavedResult(page.name, subfolder, io.FolderType.output) for page in pages]
        files = "\n".join(str(path) for path in [*pages, *others])
        return io.NodeOutput(_batch(pages), files, ui=ui.SavedImages(shown))


def folder_of(name: str) -> Path:
    """The folder of a sweep.

    Raises:
        InputError: there is none of that name.
    """
    from ..svd_core.sweep.identity import folder_name
    from ..svd_core.sweep.manifest import FILE_NAME

    folder = sweeping.root() / folder_name(name)
    if not (folder / FILE_NAME).is_file():
        remedy = "Write the name of the plan, and wait for its first clip."
        raise InputError(explain("a sweep with finished clips in output/svd_sweeps", f"none called {name!r}", remedy))
    return folder


def fresh_sheet(folder: Path, name: str) -> Path:
    """The sheet's file of that name, drawn again if the record is newer.

    Raises:
        InputError: nothing on record yet.
        OutputError: the disk is full.
    """
    from ..svd_core.sweep.manifest import FILE_NAME
    from ..svd_core.sweep.sheet_files import draw

    sheet, record = folder / name, folder / FILE_NAME
    if not sheet.is_file() or not record.is_file() or sheet.stat().st_mtime <= record.stat().st_mtime:
        draw(folder)
    return sheet


def _batch(pages: list[Path]) -> Tensor:
    """Pages `N H W 3` in [0, 1], smaller ones with black to the right and below."""
    import torch

    from ..svd_core.video_io import read_image

    pictures = [read_image(page) for page in pages]
    height, width = (max(picture.shape[side] for picture in pictures) for side in (0, 1))
    whole = torch.zeros(len(pictures), height, width, 3)
    for target, picture in zip(whole, pictures, strict=True):
        target[: picture.shape[0], : picture.shape[1]] = picture[..., :3]
    return whole


def _words(text: str) -> Tensor:
    """A sentence as a picture `1 H W 3`."""
    import numpy as np
    from PIL import Image, ImageDraw

    from ..svd_core.sheet import write_line
    from ..svd_core.video_io.images import decode_rgb

    drawn = Image.new("RGB", (640, 40), (24, 24, 27))
    write_line(ImageDraw.Draw(drawn), (12, 12), text, 12, (244, 244, 245), 616)
    return decode_rgb(np.asarray(drawn))[None]


def _inputs() -> list[io.Input]:
    return [
        io.String.Input("sweep", default="sweep", tooltip="Name of the sweep, as SVD Sweep Plan has it."),
        io.String.Input(
            "rows", default="", optional=True, tooltip="Axis that runs down; empty: chosen by the sizes of the axes."
        ),
        io.String.Input(
            "columns", default="", optional=True, tooltip="Axis that runs across; empty: the longest cheap one."
        ),
        io.Int.Input(
            "height", default=96, min=32, max=512, step=8, optional=True, tooltip="Height of a picture, in pixels."
        ),
        io.Boolean.Input(
            "moving", default=False, optional=True, tooltip="Also write sheet.webp, in which every clip plays."
        ),
        io.Custom("SVD_SWEEP_PLAN").Input(
            "plan", optional=True, tooltip="The plan, whose name then goes before the one written here."
        ),
    ]
