"""Sweeps: many clips from one plan, with a record on disk that survives whatever stops the work.

Planning and bookkeeping here are plain Python without torch; a plan of ten thousand cells opens in a moment.
"""

ROUTES = "/svd_studio/sweeps"
"""Where a host answers questions about its sweeps."""
