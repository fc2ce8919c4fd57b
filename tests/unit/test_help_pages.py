"""The help pages: a small picture each, and every input explained."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.host.workflows import EXAMPLES

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted((ROOT / "web" / "docs").glob("*.md"))
SCHEMAS = json.loads((ROOT / "tests" / "host" / "schemas.json").read_text(encoding="utf-8"))
LIMIT = 150_000


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_has_a_small_picture(page: Path) -> None:
    pictures = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", page.read_text(encoding="utf-8"))
    assert pictures, "no picture"
    for name in pictures:
        assert (page.parent / name).stat().st_size <= LIMIT, name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_names_every_input(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    # camera_2 and camera_3 go without saying between camera_1 and camera_4.
    inputs = [name for name in SCHEMAS[page.stem]["inputs"] if not re.search(r"_[23]$", name)]
    missing = [name for name in inputs if not re.search(rf"\b{name}\b", text)]
    assert not missing


def test_thumbnails_are_small() -> None:
    large = [path.name for path in EXAMPLES.glob("*.jpg") if path.stat().st_size > LIMIT]
    assert not large
