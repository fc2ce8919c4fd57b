"""File names from templates: filled, harmless on every system, and never outside their folder."""

from __future__ import annotations

from datetime import datetime

import pytest

from svd_core.errors import InputError
from svd_core.naming import fill_template

NOW = datetime(2026, 11, 21, 1, 30, 5)
VALUES = {"seed": 7, "stem": "a:b/c", "name": "..", "long": "x" * 500}


@pytest.mark.parametrize(
    ("template", "name"),
    [
        ("svd", "svd"),
        ("clips/%date%/%seed%", "clips/2026-11-21/7"),
        ("%date:yyMMdd%_%time%", "261121_01-30-05"),
        ("%date:hh:mm:ss%", "01_30_05"),
        ("%stem%", "a_b_c"),
        ("100 %", "100 %"),
        ("a%name%b", "a_b"),
        ("tail. ", "tail"),
        ("a\\b", "a/b"),
        ("Con/aux.x/cons", "Con_/aux.x_/cons"),
    ],
)
def test_places_are_filled(template: str, name: str) -> None:
    assert fill_template(template, VALUES, NOW) == name


def test_a_long_value_is_cut() -> None:
    assert len(fill_template("%long%", VALUES, NOW)) == 80


@pytest.mark.parametrize("template", ["../x", "a/../../x", "/etc/x", "C:\\x", "", "  ", "//x"])
def test_no_way_out_of_the_folder(template: str) -> None:
    with pytest.raises(InputError, match="output folder"):
        fill_template(template, VALUES, NOW)


def test_an_unknown_name_is_said_with_the_known_ones() -> None:
    with pytest.raises(InputError, match=r"%sed%") as error:
        fill_template("%sed%", VALUES, NOW)
    assert "seed" in str(error.value)
