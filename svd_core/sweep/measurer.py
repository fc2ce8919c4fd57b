"""A thread that measures finished clips one after the other, while others are rendered."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from ..errors import SvdError
from .index import Row
from .live import Sweep

if TYPE_CHECKING:
    from ..camera.stack import CameraStack

Measured = Callable[[Sweep, Row, "float | None", Mapping[str, Any]], None]
"""What was found out about a clip that took so many seconds to render."""


class Measurer:
    """cameras: a camera in words to its moves. done: called in the thread, once for every cell that was put."""

    def __init__(self, cameras: Callable[[str], CameraStack], done: Measured) -> None:
        self._cameras = cameras
        self._done = done
        self._queue: queue.Queue[tuple[Sweep, Row, float | None]] = queue.Queue()
        self._thread: threading.Thread | None = None

    def put(self, sweep: Sweep, row: Row, seconds: float | None) -> None:
        """Have the clip of a finished cell measured; the sweep is busy until that is done."""
        sweep.busy += 1
        self._queue.put((sweep, row, seconds))
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="svd-studio-measure", daemon=True)
            self._thread.start()

    def _work(self) -> None:
        while True:
            sweep, row, seconds = self._queue.get()
            try:
                track = self._track(sweep, row)
            except Exception as error:
                # The clip is whole; that it has no numbers must stop nothing.
                track = {"error": str(error)}
            self._done(sweep, row, seconds, track)

    def _track(self, sweep: Sweep, row: Row) -> Mapping[str, Any]:
        from .measured import measure_clip
        from .thumbnails import thumbnail

        clip = sweep.clip(row)
        if clip is None:
            return {}
        thumbnail(clip, row.cell.key, sweep.path)
        return measure_clip(clip, self._asked(sweep, row))

    def _asked(self, sweep: Sweep, row: Row) -> CameraStack | None:
        """The camera of a cell, where an axis says it."""
        axis = next((axis.name for axis in sweep.plan.axes if axis.kind == "camera"), None)
        if axis is None:
            return None
        try:
            return self._cameras(str(row.cell.values[axis]))
        except SvdError:
            return None
