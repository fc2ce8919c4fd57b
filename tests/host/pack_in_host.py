"""For scripts that run in the host's own Python: the host as after its start, and the pack as the host loads it."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import sys
import time
from pathlib import Path
from types import ModuleType

NAME = "svd_studio_under_test"


def load_pack(host: str, base: str, *arguments: str) -> ModuleType:
    """Import the host's modules on the CPU, then our root under a name of its own; our folder is never on the path."""
    root = Path(__file__).resolve().parents[2]
    sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() not in (root, Path(__file__).parent)]
    sys.path.insert(0, host)
    os.chdir(host)
    sys.argv = ["main.py", "--cpu", "--base-directory", base, "--disable-api-nodes", *arguments]
    import comfy.options

    comfy.options.enable_args_parsing()
    import torch

    torch.set_num_threads(1)
    spec = importlib.util.spec_from_file_location(NAME, root / "__init__.py", submodule_search_locations=[str(root)])
    assert spec is not None and spec.loader is not None
    pack = importlib.util.module_from_spec(spec)
    sys.modules[NAME] = pack
    spec.loader.exec_module(pack)
    return pack


def import_cost() -> float:
    """Processor seconds until the host has every schema of the pack, beside what the host has imported itself."""
    import comfy_extras.nodes_video_model

    import nodes

    assert nodes.NODE_CLASS_MAPPINGS and comfy_extras.nodes_video_model.NODE_CLASS_MAPPINGS
    started = time.process_time()
    extension = asyncio.run(sys.modules[NAME].comfy_entrypoint())
    for node in asyncio.run(extension.get_node_list()):
        node.GET_SCHEMA()
    return time.process_time() - started
