"""Which seeds there are: those that generators of every library here take."""

from __future__ import annotations

LAST_SEED = 2**63 - 1
"""The first is 0."""
