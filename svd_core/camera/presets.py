"""The moves an artist can ask for by name: what each is made of, in which unit, and how fast by default.

This file decides names, units and defaults. How a move is spread over the frames is `curves`', and what carries it
out (a LoRA, or the source picture moved) is decided in `stack`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, get_args

from ..errors import InputError, choose_from

Channel = Literal["pan", "tilt", "zoom", "roll", "truck", "pedestal", "dolly", "orbit"]
"""A degree of freedom: the four a flat picture allows, and the four that need depth."""
CHANNELS: tuple[Channel, ...] = get_args(Channel)

# Degrees the frame's width is taken to span wherever angles meet pixels: a lens of some 43 mm on full frame.
FIELD_OF_VIEW = 45.0

_WIDTH = "% of the frame's width a second"
_HEIGHT = "% of the frame's height a second"
_GROWTH = "% a second on a log scale"
_TURN = "degrees a second"
_NEAREST = ", of what is nearest"
# A share of the frame one clearly sees in a clip of two seconds, and that keeps its subject in view.
_USUAL = 12.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """One name: the channel and sign of a positive amount, its unit, its usual amount, and what it does.

    channel: None for `static` and `handheld`. opposite: the preset a negative amount asks for. planar: the preset that
    stands in where no depth image is given, None where depth makes no difference; its amount is this one's times
    `planar_rate`.
    """

    channel: Channel | None
    sign: int
    unit: str
    usual: float
    does: str
    opposite: str | None = None
    planar: str | None = None
    planar_rate: float = 1.0


def find_preset(name: str) -> Preset:
    """A preset by name.

    Raises:
        InputError: there is none, with the list of those there are.
    """
    if name not in PRESETS:
        raise InputError(choose_from("camera preset", name, PRESETS))
    return PRESETS[name]


@dataclass(frozen=True, slots=True)
class _Channel:
    """Both directions of a channel: the ends of their names, negative first, and the words for them."""

    name: str
    ends: tuple[str, str]
    unit: str
    usual: float
    does: tuple[str, str]
    planar: tuple[str, str] | None = None
    planar_rate: float = 1.0


_SIDES, _UPWARD, _INWARD = ("left", "right"), ("down", "up"), ("out", "in")
_CHANNELS: dict[Channel, _Channel] = {
    "pan": _Channel("pan", _SIDES, _WIDTH, _USUAL, ("turns the camera left", "turns the camera right")),
    "tilt": _Channel("tilt", _UPWARD, _HEIGHT, _USUAL, ("turns the camera down", "turns the camera up")),
    "zoom": _Channel("zoom", _INWARD, _GROWTH, _USUAL, ("widens the view", "narrows the view")),
    "roll": _Channel(
        "roll", ("ccw", "cw"), _TURN, 8.0, ("turns the camera counter-clockwise", "turns the camera clockwise")
    ),
    "truck": _Channel(
        "truck",
        _SIDES,
        _WIDTH + _NEAREST,
        _USUAL,
        ("carries the camera to the left", "carries the camera to the right"),
        ("pan_left", "pan_right"),
    ),
    "pedestal": _Channel(
        "pedestal",
        _UPWARD,
        _HEIGHT + _NEAREST,
        _USUAL,
        ("lowers the camera", "lifts the camera"),
        ("tilt_down", "tilt_up"),
    ),
    "dolly": _Channel(
        "dolly",
        _INWARD,
        _GROWTH + _NEAREST,
        _USUAL,
        ("carries the camera back", "carries the camera forward"),
        ("zoom_out", "zoom_in"),
    ),
    # What lies far behind a subject held in the middle passes as in a pan against the way the camera goes.
    "orbit": _Channel(
        "orbit",
        _SIDES,
        _TURN,
        8.0,
        ("carries the camera left round the subject", "carries the camera right round the subject"),
        ("pan_right", "pan_left"),
        100 / FIELD_OF_VIEW,
    ),
}


def _both(channel: Channel, told: _Channel) -> Iterator[tuple[str, Preset]]:
    names = [f"{told.name}_{end}" for end in told.ends]
    for index, sign in enumerate((-1, 1)):
        yield (
            names[index],
            Preset(
                channel=channel,
                sign=sign,
                unit=told.unit,
                usual=told.usual,
                does=told.does[index],
                opposite=names[1 - index],
                planar=None if told.planar is None else told.planar[index],
                planar_rate=told.planar_rate,
            ),
        )


PRESETS: dict[str, Preset] = {
    "static": Preset(
        channel=None,
        sign=0,
        unit="1 is full strength",
        usual=1.0,
        does="holds the camera while the subject moves",
    ),
    **{name: preset for channel, told in _CHANNELS.items() for name, preset in _both(channel, told)},
    "handheld": Preset(
        channel=None,
        sign=0,
        unit="tenths of a % of the frame's width, the usual distance from rest",
        usual=_USUAL,
        does="lets the camera sway as in a hand",
    ),
}
