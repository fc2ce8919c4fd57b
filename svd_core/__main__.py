"""`python -m svd_core` is `svd`."""

from __future__ import annotations

from .cli.main import entry

if __name__ == "__main__":
    entry()
