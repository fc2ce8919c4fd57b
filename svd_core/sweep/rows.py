"""Sweeps and cells as the page is told about them."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from . import ROUTES
from .index import METRICS, Row
from .live import Sweep
from .plan import Plan


def brief(sweep: Sweep) -> dict[str, Any]:
    """A line of the list of sweeps."""
    return {
        "id": sweep.id,
        "name": sweep.plan.name,
        "state": sweep.standing,
        "note": sweep.state.note if sweep.standing in ("paused", "stopped") else None,
        "counts": dict(sweep.index.counts),
        "total": len(sweep.index.rows),
        "changed": sweep.changed,
    }


def detail(sweep: Sweep) -> dict[str, Any]:
    """All there is to say but the cells."""
    return {**brief(sweep), "axes": axes(sweep.plan), "metrics": sweep.index.present(), "stars": list(sweep.stars)}


def axes(plan: Plan) -> list[dict[str, Any]]:
    """Names and labels."""
    return [{"name": axis.name, "labels": [axis.label(value) for value in axis.values]} for axis in plan.axes]


def row_document(sweep: Sweep, row: Row) -> dict[str, Any]:
    """A cell as the grid shows it."""
    cell, record = row.cell, row.record
    done = row.status == "done"
    place = f"{ROUTES}/{quote(sweep.id, safe='')}/cells/{cell.key}"
    measured = {name: row.metric(name) for name in METRICS}
    return {
        "index": cell.index,
        "cell": cell.key,
        "name": cell.name,
        "status": row.status,
        "values": {axis.name: axis.label(cell.values[axis.name]) for axis in sweep.plan.axes},
        "clip": f"{place}/clip" if done else None,
        "thumbnail": f"{place}/thumbnail" if done else None,
        "error": record.error if record is not None and row.status == "failed" else None,
        "seconds": record.seconds if record is not None and done else None,
        "frames": row.metric("frames"),
        "fps": row.metric("fps"),
        "metrics": {name: value for name, value in measured.items() if value is not None},
        "starred": cell.key in sweep.stars,
        "prompt_id": row.prompt_id,
    }
