"""The pack's outside: importable without a host, one door to it, and lists that agree with each other."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    tomllib = pytest.importorskip("tomli")

ROOT = Path(__file__).resolve().parents[2]
HOST = {"comfy", "comfy_api", "comfy_execution", "comfy_extras", "folder_paths", "server", "execution", "nodes"}
DOOR = ROOT / "nodes" / "host.py"
SOURCES = [ROOT / "__init__.py", *sorted((ROOT / "nodes").rglob("*.py"))]


def imported(path: Path) -> set[str]:
    """First names of absolute imports; `svd_core` means our own package imported as a stranger."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found.add(node.module.split(".")[0])
    return found


def node_ids() -> set[str]:
    """The `node_id`s written in the schemas."""
    return {
        keyword.value.value
        for path in SOURCES
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(call, ast.Call)
        for keyword in call.keywords
        if keyword.arg == "node_id" and isinstance(keyword.value, ast.Constant)
    }


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_one_door_to_the_host(path: Path) -> None:
    names = imported(path)
    assert "svd_core" not in names, "import our own packages relatively: the host gives the pack another name"
    if path != DOOR:
        assert not names & HOST, f"imports {names & HOST}; take it from nodes/host.py"


def test_importing_the_pack_needs_no_host() -> None:
    """Under another name, from its place, as a host does it; neither torch nor a message comes with it."""
    code = (
        "import importlib.util, sys\n"
        f"spec = importlib.util.spec_from_file_location('pack', {str(ROOT / '__init__.py')!r},"
        f" submodule_search_locations=[{str(ROOT)!r}])\n"
        "pack = importlib.util.module_from_spec(spec)\n"
        "sys.modules['pack'] = pack\n"
        "spec.loader.exec_module(pack)\n"
        "assert 'torch' not in sys.modules\n"
        "assert pack.WEB_DIRECTORY == './web' and not hasattr(pack, 'NODE_CLASS_MAPPINGS')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert not done.stdout and not done.stderr


def test_without_a_host_the_entry_point_says_what_is_missing() -> None:
    code = (
        "import asyncio, importlib.util, sys\n"
        f"spec = importlib.util.spec_from_file_location('pack', {str(ROOT / '__init__.py')!r},"
        f" submodule_search_locations=[{str(ROOT)!r}])\n"
        "pack = importlib.util.module_from_spec(spec)\n"
        "sys.modules['pack'] = pack\n"
        "spec.loader.exec_module(pack)\n"
        "try:\n    asyncio.run(pack.comfy_entrypoint())\n"
        "except ModuleNotFoundError as error:\n    sys.exit(0 if error.name.startswith('comfy') else 2)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Traceback" in done.stderr, "the whole error belongs in the log: the host shows one line of it"


def test_requirements_are_the_project_s_dependencies_without_torch() -> None:
    """The host brings torch; naming it there could replace the user's build."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        project = tomllib.load(file)["project"]
    expected = [entry for entry in project["dependencies"] if not entry.startswith("torch>")]
    assert (ROOT / "requirements.txt").read_text(encoding="utf-8").split() == expected


def test_every_node_is_listed_translated_and_documented() -> None:
    ids = node_ids()
    assert ids and all(name.startswith("SVDStudio") for name in ids)
    assert set(json.loads((ROOT / "node_list.json").read_text(encoding="utf-8"))) == ids
    assert set(json.loads((ROOT / "locales" / "en" / "nodeDefs.json").read_text(encoding="utf-8"))) == ids
    assert {page.stem for page in (ROOT / "web" / "docs").glob("*.md")} == ids


def test_the_registry_finds_what_it_asks_for() -> None:
    with (ROOT / "pyproject.toml").open("rb") as file:
        tree = tomllib.load(file)
    project, comfy = tree["project"], tree["tool"]["comfy"]
    assert project["urls"]["Repository"].startswith("https://")
    assert comfy["PublisherId"] and comfy["DisplayName"] and comfy["requires-comfyui"].startswith(">=0.3.64")
    icon = ROOT / comfy["Icon"].partition("/main/")[2]
    picture = ElementTree.parse(icon).getroot()
    assert int(picture.attrib["width"]) <= 800 and int(picture.attrib["height"]) <= 400, "the registry's limit"


def test_the_package_leaves_tests_at_home() -> None:
    left_out = (ROOT / ".comfyignore").read_text(encoding="utf-8").split()
    assert {"tests/", ".ci/"} <= set(left_out)
