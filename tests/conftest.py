"""One thread for this process and those it starts: on a busy machine two can be many times slower than one."""

from __future__ import annotations

import os

# Before anything imports torch, which reads it once.
os.environ.setdefault("OMP_NUM_THREADS", "1")
