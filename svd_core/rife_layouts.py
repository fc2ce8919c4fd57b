"""The RIFE 4 files there are: one table of what sets them apart, and the rule that finds a file's row.

The versions share one design (Huang et al. 2022): blocks estimate flow and mask from coarse to fine, each
seeing both frames warped by what is known so far. They differ in activations, in how wide blocks are, in whether frames
are encoded first, and in what a block hands to the next. All of it shows in names and shapes of the tensors; file names
say nothing. No torch here: `svd inspect` reads headers only.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from .errors import UnsupportedModelError, explain

Shape = tuple[int, ...]
Trunk = Literal["plain", "residual", "scaled"]
Head = Literal["none", "short", "listed", "named"]
FLOW, MASK = 4, 1
"""What a block puts out a pixel: flow (x, y) to the first frame and to the second, and a mask; features may follow."""
_FEATURES = 8
_PREFIXES = ("module.", "flownet.", "model.", "state_dict.", "params.")
# Networks that taught or timed the training; nothing of theirs is used between frames.
_TRAINING = ("teacher.", "caltime.", "block_tea.", "loss.")
_HEAD_LAYERS: dict[Head, tuple[str, ...]] = {
    "none": (),
    "short": ("0", "1"),
    "listed": ("0", "2", "4", "6"),
    "named": ("cnn0", "cnn1", "cnn2", "cnn3"),
}
_LITE_WIDTH = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class RifeLayout:
    """A row of the table.

    trunk: a block's eight convolutions are a "plain" chain, a chain with a "residual" around it, or each one "scaled"
    per channel and added to its input.
    head: how frames are encoded before any block: not at all, by two layers, or by four, in a list or with names.
    planes: what a block puts out a pixel; `shuffled` if it does at half its own grid, not at a quarter.
    scales: how coarse each block works.
    """

    name: str
    versions: str
    prelu: bool = False
    trunk: Trunk = "scaled"
    head: Head = "named"
    planes: int = 6
    shuffled: bool = True
    scales: tuple[int, ...] = (8, 4, 2, 1)
    lite: bool = False

    @property
    def features(self) -> int:
        """Channels a block hands to the next besides flow and mask."""
        return _FEATURES if self.planes == FLOW + MASK + _FEATURES else 0

    @property
    def head_layers(self) -> tuple[str, ...]:
        """Names of the encoder's layers: convolutions, the last one transposed."""
        return _HEAD_LAYERS[self.head]

    @property
    def adds_masks(self) -> bool:
        """Whether a block corrects the mask before it, as it does the flow, or replaces it."""
        return self.head == "none"

    @property
    def zooms_out(self) -> bool:
        """Whether fast motion is estimated once more at twice the scales."""
        return self.prelu

    @property
    def may_refine(self) -> bool:
        """Whether a second network that corrects colours can be in the file."""
        return not self.shuffled


LAYOUTS = (
    RifeLayout(name="4.0", versions="4.0, 4.1", prelu=True, trunk="residual", head="none", planes=5, shuffled=False),
    RifeLayout(name="4.2", versions="4.2 to 4.4", trunk="plain", head="none", planes=5, shuffled=False),
    RifeLayout(name="4.5", versions="4.5", head="none", planes=5),
    RifeLayout(name="4.6", versions="4.6", head="none"),
    RifeLayout(name="4.7", versions="4.7 to 4.9", head="short"),
    RifeLayout(name="4.10", versions="4.10 to 4.12, 4.12 and 4.13 lite", head="listed"),
    RifeLayout(name="4.13", versions="4.13 to 4.20 and 4.24, 4.14 to 4.17 lite"),
    RifeLayout(name="4.21", versions="4.21 to 4.23, 4.22 lite", planes=13),
    RifeLayout(name="4.25", versions="4.25, 4.26 and their heavy ones", planes=13, scales=(16, 8, 4, 2, 1)),
    RifeLayout(name="4.25 lite", versions="4.25 lite", planes=13, scales=(32, 16, 8, 4, 1), lite=True),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RifeConfig:
    """One network: its layout and its widths.

    widths: channels of each block, coarse to fine. head_width, head_channels: of the encoder, inside and what it puts
    out. groups: of the trunks' convolutions. refines: whether the file has the network that corrects colours.
    """

    layout: RifeLayout
    widths: tuple[int, ...]
    head_width: int = 0
    head_channels: int = 0
    groups: int = 1
    refines: bool = False

    def inputs(self, block: int) -> int:
        """Channels a block sees: two frames with their encodings and the time; later ones also what is known."""
        seen = 2 * (3 + self.head_channels) + 1
        return seen if block == 0 else seen + MASK + self.layout.features + FLOW

    def multiple(self, flow_scale: float = 1.0) -> int:
        """What height and width must be multiples of: the coarsest block halves its grid twice."""
        return round(4 * self.layout.scales[0] * (2 if self.layout.zooms_out else 1) / flow_scale)


def plain_name(name: str) -> str | None:
    """A tensor's name without what training or packing put before it; None for what is not used between frames."""
    while prefix := next((prefix for prefix in _PREFIXES if name.startswith(prefix)), None):
        name = name.removeprefix(prefix)
    if name.startswith(_TRAINING):
        return None
    return re.sub(r"^block(\d)\.", r"blocks.\1.", name)


def rife_config(shapes: Mapping[str, Shape]) -> RifeConfig | None:
    """The config of a file from names and shapes alone; None if it is no RIFE file.

    Raises:
        UnsupportedModelError: it is one, of a layout that is not in the table.
    """
    known = {plain: shape for name, shape in shapes.items() if (plain := plain_name(name)) is not None}
    if len(known.get("blocks.0.conv0.0.0.weight", ())) != 4:
        return None
    widths = tuple(_out(known, f"blocks.{index}.conv0.1.0.weight") for index in range(_count(known)))
    planes = _channels(known, "blocks.0.lastconv.weight") or _channels(known, "blocks.0.lastconv.0.weight") // 4
    shuffled = "blocks.0.lastconv.0.weight" in known
    lite = len(widths) == 5 and widths[-1] == _LITE_WIDTH
    facts = ("blocks.0.conv0.0.1.weight" in known, _trunk(known), _encoder(known), planes, shuffled, len(widths), lite)
    layout = next((row for row in LAYOUTS if _facts(row) == facts), None)
    if layout is None:
        raise UnsupportedModelError(_unknown(widths, planes, _encoder(known)))
    layers = layout.head_layers
    trunk = known.get("blocks.0.convblock.0.conv.weight", (1, 1))
    return RifeConfig(
        layout=layout,
        widths=widths,
        head_width=_out(known, f"encode.{layers[0]}.weight") if layers else 0,
        head_channels=_channels(known, f"encode.{layers[-1]}.weight") if layers else 0,
        groups=max(1, trunk[0] // max(1, trunk[1])) if layout.trunk == "scaled" else 1,
        refines=layout.may_refine and "unet.conv.weight" in known,
    )


def _facts(row: RifeLayout) -> tuple[object, ...]:
    """What a file of a row shows."""
    return row.prelu, row.trunk, set(row.head_layers), row.planes, row.shuffled, len(row.scales), row.lite


def _count(known: Mapping[str, Shape]) -> int:
    return sum(re.fullmatch(r"blocks\.\d\.conv0\.1\.0\.weight", name) is not None for name in known)


def _out(known: Mapping[str, Shape], name: str) -> int:
    """Output channels of a convolution, 0 where there is none."""
    return (known.get(name) or (0,))[0]


def _channels(known: Mapping[str, Shape], name: str) -> int:
    """Output channels of a transposed convolution, 0 where there is none."""
    return (known.get(name) or (0, 0))[1]


def _trunk(known: Mapping[str, Shape]) -> Trunk:
    if "blocks.0.convblock.0.beta" in known:
        return "scaled"
    return "residual" if "blocks.0.convblock.0.1.weight" in known else "plain"


def _encoder(known: Mapping[str, Shape]) -> set[str]:
    """Names of the encoder's layers."""
    return {name.split(".")[1] for name in known if name.startswith("encode.")}


def _unknown(widths: tuple[int, ...], planes: int, encoder: set[str]) -> str:
    rows = "; ".join(f"{row.name}: {row.versions}" for row in LAYOUTS)
    layers = f"an encoder of {', '.join(sorted(encoder))}" if encoder else "no encoder"
    seen = f"{len(widths)} blocks of widths {list(widths)} that put out {planes} planes, {layers}"
    return explain(f"a RIFE file of a known layout ({rows})", seen, "Use one of these versions, 4.25 for example.")
