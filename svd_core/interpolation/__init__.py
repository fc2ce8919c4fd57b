"""Clips at other frame rates: when frames are shown (`plan`), what makes those between two (`engines`), and the walk
over a clip that joins both (`retime`)."""

from .engines import Engine, Gap
from .plan import EASES, LOOPS, PAIR_MODES, Plan, parse_pairs, parse_times, to_rate
from .retime import CUT_GUARDS, ENGINES, Report, Shown, interpolate, retime

__all__ = [
    "CUT_GUARDS",
    "EASES",
    "ENGINES",
    "LOOPS",
    "PAIR_MODES",
    "Engine",
    "Gap",
    "Plan",
    "Report",
    "Shown",
    "interpolate",
    "parse_pairs",
    "parse_times",
    "retime",
    "to_rate",
]
