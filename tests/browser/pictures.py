"""Make the example workflows, their thumbnails and all pictures of the help pages and the README anew.

    OMP_NUM_THREADS=1 python -m tests.browser.pictures [EXAMPLE ...]

Run it when the embedded model, a node or the page's look has changed, then look at what came out. Every picture is
taken from the real page after the embedded model has run the graph; what that model cannot run is shown before.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

from PIL import Image, ImageOps

from svd_core.video_io import read_clip
from tests.browser import help_clips
from tests.browser.browser import PageError
from tests.browser.comfy import NEWEST, PATIENCE, Comfy, session
from tests.browser.examples import EXAMPLES
from tests.browser.make_examples import TARGET, write
from tests.host.server import ROOT

IMAGES = ROOT / "web" / "docs" / "images"
# Pictures other than the one the workflow names; examples that need files nobody can bring along.
_PICTURES = {
    "portrait_photo": "portrait.png",
    "camera_hold": "evening.png",
    "with_comfyui_nodes": "evening.png",
    "perfect_loop": "evening.png",
}
# Two pictures of one scene, in the order of the nodes.
_SERIES = {"two_photos": ("first.png", "second.png")}
_NOT_RUN = ("orbit", "camera_train", "camera_lora", "slow_motion_rife")
# Whole graphs the README shows.
_SHOWN = ("image_to_video", "camera_pan_then_zoom")
_THUMBNAIL, _ZOOM, _MARGIN = 512, 1.25, 16
# Clips stand still at the same moment in every picture.
_QUIET = """async () => {
  await new Promise((resolve) => setTimeout(resolve, 3000));
  for (const video of document.querySelectorAll("video")) {
    video.pause();
    video.controls = false;
    video.currentTime = 0.5;
  }
  await new Promise((resolve) => setTimeout(resolve, 1000));
}"""
_NODES = "() => app.graph._nodes.map((node) => [node.id, node.type, node.pos[0], node.pos[1]])"
# Previews have made nodes taller than the saved graph says.
_FIT = """() => {
  const boxes = [...app.graph._nodes, ...app.graph._groups];
  const left = Math.min(...boxes.map(({ pos }) => pos[0])), top = Math.min(...boxes.map(({ pos }) => pos[1])) - 40;
  const right = Math.max(...boxes.map(({ pos, size }) => pos[0] + size[0]));
  const bottom = Math.max(...boxes.map(({ pos, size }) => pos[1] + size[1]));
  return [left, top, right - left, bottom - top];
}"""


def run(comfy: Comfy, name: str) -> bool:
    """Open an example with a picture of ours and run it; false where it cannot be run here."""
    workflow = json.loads((TARGET / f"{name}.json").read_text(encoding="utf-8"))
    sources = [node for node in workflow["nodes"] if node["type"] == "LoadImage"]
    for index, node in enumerate(sources):
        node["widgets_values"][0] = _SERIES[name][index] if name in _SERIES else _PICTURES.get(name, "hills.png")
    comfy.load(workflow)
    if name in _NOT_RUN:
        return False
    if name == "sweep":
        queue_sweep(comfy)
    comfy.queue()
    comfy.finish()
    comfy.page.evaluate(_QUIET)
    return True


def queue_sweep(comfy: Comfy) -> None:
    """Start the sweep of the open graph, wait for its end, close the panel that shows it."""
    comfy.page.evaluate("() => { app.extensionManager.command.execute('SVDStudio.QueueSweep'); }")
    comfy.page.wait("() => Boolean(document.querySelector('dialog .primary'))", seconds=PATIENCE)
    comfy.page.press("Enter")
    comfy.page.wait(
        "() => document.querySelector('.svd-sweeps header .state')?.textContent === 'finished'", seconds=900
    )
    toggle = "Workspace.ToggleSidebarTab.svd-studio-sweeps"
    comfy.page.evaluate("(command) => { app.extensionManager.command.execute(command); }", toggle)


def whole_graph(comfy: Comfy, path: Path) -> None:
    """The graph and nothing else."""
    left, top, width, height = comfy.page.evaluate(_FIT)
    scale = min(1400 / width, 860 / height)
    comfy.look_at(left - 100 / scale, top - 90 / scale, scale)
    x, y, width, height = comfy.box()
    _shot(comfy, path, (x - _MARGIN, y - _MARGIN, width + 2 * _MARGIN, height + 2 * _MARGIN))


def single_nodes(comfy: Comfy, wanted: set[str]) -> set[str]:
    """A picture of every node of ours that is `wanted`: the types there were."""
    taken: set[str] = set()
    for number, kind, x, y in comfy.page.evaluate(_NODES):
        if kind in wanted - taken:
            comfy.look_at(x - 90, y - 110, _ZOOM)
            left, top, width, height = comfy.box(number)
            box = (left - _MARGIN, top - 2 * _MARGIN, width + 2 * _MARGIN, min(height + 3 * _MARGIN, 1000 - top))
            _shot(comfy, IMAGES / f"{kind}.webp", box)
            taken.add(kind)
    return taken


def clips_of(comfy: Comfy) -> list[Path]:
    """Clips saved so far, the newest last."""
    return sorted((comfy.server.base / "output" / "svd").glob("*"), key=lambda path: path.stat().st_mtime)


def thumbnail(comfy: Comfy, name: str, clips: list[Path]) -> None:
    """Four frames of the newest of the example's clips, the sheet of its sweep, or the graph where there is neither."""
    target = TARGET / f"{name}.jpg"
    sheet = Image.new("RGB", (_THUMBNAIL, _THUMBNAIL))
    sheets = list((comfy.server.base / "output" / "svd_sweeps").glob("*/sheet.png")) if name == "sweep" else []
    if sheets:
        with Image.open(sheets[0]) as whole:
            sheet.paste(ImageOps.fit(whole.convert("RGB"), sheet.size, Image.Resampling.LANCZOS, centering=(0, 0.5)))
    elif name in _NOT_RUN or not clips:
        whole_graph(comfy, target.with_suffix(".webp"))
        with Image.open(target.with_suffix(".webp")) as graph:
            sheet.paste(ImageOps.fit(graph.convert("RGB"), sheet.size, Image.Resampling.LANCZOS, centering=(0, 0)))
        target.with_suffix(".webp").unlink()
    else:
        pixels = read_clip(clips[-1]).pixels
        half = _THUMBNAIL // 2
        for place in range(4):
            frame = pixels[round(place * (len(pixels) - 1) / 3)]
            picture = Image.fromarray((frame * 255).round().byte().numpy())
            picture = ImageOps.fit(picture, (half - 2, half - 2), Image.Resampling.BICUBIC)
            sheet.paste(picture, (place % 2 * (half + 2), place // 2 * (half + 2)))
    sheet.save(target, quality=88, optimize=True)


def _shot(comfy: Comfy, path: Path, box: tuple[float, float, float, float]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        shot = comfy.page.screenshot(Path(folder) / "shot.png", box)
        with Image.open(shot) as picture:
            picture.convert("RGB").save(path, quality=85, method=6)


def _fill(comfy: Comfy) -> None:
    """Pictures of other shapes."""
    with Image.open(ROOT / "svd_core" / "assets" / "hills.png") as picture:
        width, height = picture.size
        folder = comfy.server.base / "input"
        picture.crop((width // 5, 0, width - width // 5, height)).save(folder / "portrait.png")
        side = min(width, height) * 4 // 5
        for name, left, top in (("first", 0, 0), ("second", width // 8, height // 10)):
            picture.crop((left, top, left + side, top + side)).save(folder / f"{name}.png")


def first_with(kind: str) -> str | None:
    """The example a node is pictured in."""
    return next((name for name, one in EXAMPLES.items() if kind in {node.kind for node in one.nodes.values()}), None)


def picture_all(comfy: Comfy, names: Iterable[str]) -> None:
    """Workflow, thumbnail, graph and nodes of every example; one that fails leaves its old pictures."""
    docs = {path.stem: path.read_text(encoding="utf-8") for path in IMAGES.parent.glob("SVDStudio*.md")}
    kinds = {kind for kind, text in docs.items() if f"images/{kind}.webp" in text}
    for name in names:
        known = clips_of(comfy)
        try:
            write(comfy, name)
            run(comfy, name)
        except (AssertionError, PageError) as error:
            print(name, "FAILED:", str(error)[:2000])
            continue
        thumbnail(comfy, name, [clip for clip in clips_of(comfy) if clip not in known])
        if name in _SHOWN:
            whole_graph(comfy, IMAGES / f"graph_{name}.webp")
        # Some of the examples picture what all of them would: no node is taken from a graph that shows less of it.
        kinds -= single_nodes(comfy, {kind for kind in kinds if first_with(kind) == name})
        print(name)
    print("no picture of", sorted(kinds))


def main(names: list[str]) -> None:
    """All of it, or what belongs to the named examples."""
    with session() as comfy:
        _fill(comfy)
        picture_all(comfy, names or EXAMPLES)
    if not names:
        with session(NEWEST, vue=True) as comfy:
            run(comfy, "image_to_video")
            whole_graph(comfy, IMAGES / "nodes2.webp")
        help_clips.make()


if __name__ == "__main__":
    main(sys.argv[1:])
