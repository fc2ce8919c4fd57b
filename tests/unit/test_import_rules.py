"""The levels of svd_core: a file imports lower levels, or its own without cycles, and nothing at all from a host."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CORE = ROOT / "svd_core"
FORBIDDEN = {"comfy", "comfy_api", "comfy_execution", "folder_paths", "nodes", "server", "execution"}

LEVELS: dict[str, int] = {
    "errors": 0,
    "config": 0,
    "types": 0,
    "operations": 0,
    "seeds": 0,
    "sinusoid": 0,
    "inplace": 0,
    "attention": 1,
    "unet": 1,
    "autoencoder": 1,
    "image_encoder": 1,
    "conditioning": 2,
    "source_image": 2,
    "framing": 2,
    "naming": 2,
    "rife_layouts": 0,
    "settings": 2,
    "directing": 3,
    "sampling": 2,
    "camera": 2,
    "interpolation": 2,
    "metrics": 2,
    "video_io": 2,
    "sheet": 2,
    "memory": 2,
    "weights": 3,
    "pipeline": 3,
    "in_betweening": 3,
    "training": 3,
    "sweep": 3,
    "cli": 3,
}
NETWORKS = {"attention", "unet", "autoencoder", "image_encoder"}


def sources() -> list[Path]:
    return sorted(CORE.rglob("*.py"))


def module_of(path: Path) -> tuple[str, ...]:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return parts[:-1] if parts[-1] == "__init__" else parts


def imports(path: Path) -> Iterator[tuple[str, ...]]:
    """Absolute dotted names a file imports, relative ones resolved."""
    package = module_of(path) if path.name == "__init__.py" else module_of(path)[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (tuple(alias.name.split(".")) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            target = base + tuple((node.module or "").split(".") if node.module else ())
            yield from ((*target, alias.name) for alias in node.names)


def room(module: tuple[str, ...]) -> str | None:
    return module[1] if len(module) > 1 and module[0] == "svd_core" and module[1] in LEVELS else None


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(CORE)))
def test_imports_go_down(path: Path) -> None:
    here = room(module_of(path))
    for target in imports(path):
        assert target[0] not in FORBIDDEN, f"imports the host: {'.'.join(target)}"
        there = room(target)
        if here is None or there is None or here == there:
            continue
        assert LEVELS[there] <= LEVELS[here], f"{here} (level {LEVELS[here]}) imports {there} (level {LEVELS[there]})"
        if LEVELS[here] == 2:
            assert there not in NETWORKS, f"{here} is a procedure: it takes callables, it does not import {there}"
        if there == "pipeline":
            assert here in {"cli", "sweep", "training", "in_betweening"}, f"{here} imports pipeline"


def test_every_room_has_a_level() -> None:
    rooms = {path.relative_to(CORE).parts[0].removesuffix(".py") for path in sources()}
    assert rooms - set(LEVELS) <= {"__init__", "__main__", "assets"}, "give the new room a level"


def test_no_cycles_between_files() -> None:
    files = {module_of(path): path for path in sources()}
    edges = {
        module: {name for target in imports(path) for name in (target, target[:-1]) if name in files and name != module}
        for module, path in files.items()
        if path.name != "__init__.py"
    }
    done: set[tuple[str, ...]] = set()

    def visit(module: tuple[str, ...], trail: tuple[tuple[str, ...], ...]) -> None:
        assert module not in trail, " -> ".join(".".join(step) for step in (*trail, module))
        if module in done or module not in edges:
            return
        for target in edges[module]:
            visit(target, (*trail, module))
        done.add(module)

    for module in edges:
        visit(module, ())


def test_importing_the_package_costs_nothing() -> None:
    """No torch, no folder, no output: the command line's --help and `svd inspect` depend on it."""
    code = "import sys, svd_core; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=False)
    assert done.returncode == 0, "importing svd_core imports torch or numpy"
    assert not done.stdout and not done.stderr
