"""Runs inside the host's own Python, once for all tests that need the host's objects and not its server."""

from __future__ import annotations

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import camera_in_host
import in_between_in_host
import memory_in_host
import objects_in_host
import pack_in_host
import patches_in_host
import rooms_in_host
import sizes_in_host


def main(host: str, folder: str) -> None:
    pack_in_host.load_pack(host, folder)
    cost = pack_in_host.import_cost()
    found = {"patches": patches_in_host.results(folder), "objects": objects_in_host.results(folder)}
    found["rooms"] = rooms_in_host.results(folder)
    found["in_between"] = in_between_in_host.results(folder)
    found["camera"] = camera_in_host.results(folder)
    found["sizes"] = sizes_in_host.results(folder)
    found["memory"] = memory_in_host.results(folder)
    found["imports"] = {"seconds": cost}
    Path(folder, "results.json").write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
