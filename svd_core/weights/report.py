"""Every tensor of a checkpoint accounted for: used, dropped with a reason, missing, unexpected or mismatched."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ..errors import WeightsMismatchError, explain, some_keys
from .detect import CONDITIONERS, FIRST_STAGE, Detection
from .keymaps import Part, Piece, Place, Places, Rule, owns, rules_from
from .source import Checkpoint

DTYPE_NAMES = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
}

# A published file carries the whole objects it was trained with. Prefix -> why a tensor below it is of no use.
_DROPS: tuple[tuple[str, str], ...] = (
    ("conditioner.embedders.0.open_clip.model.", "the text half of CLIP, never used for images"),
    ("image_encoder/text_model.", "the text half of CLIP, never used for images"),
    ("model_ema.", "running averages kept for training"),
    ("denoiser.", "constants of the denoiser, computed here"),
    ("first_stage_model.loss.", "a loss network kept for training"),
)
_NO_WEIGHTS = (".position_ids", ".attn_mask")


@dataclass(frozen=True, slots=True)
class Mismatch:
    """A tensor whose shape is not what the config says."""

    name: str
    expected: tuple[int, ...]
    found: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadReport:
    """What a checkpoint is and what became of each of its tensors.

    `dtype` is the one most bytes are stored in, `used` the number of tensors the networks take, `dropped`
    counts left-over tensors by reason. `unexpected` are tensors nobody can name; those inside a network
    that is used (`unexpected_inside`) stop the load, the others do not.
    """

    source: str
    family: str
    variant: str
    layout: str
    dtype: str
    tensors: int
    parameters: int
    bytes: int
    parts: tuple[str, ...]
    used: int
    dropped: Mapping[str, int]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    unexpected_inside: tuple[str, ...]
    mismatched: tuple[Mismatch, ...]
    notes: tuple[str, ...]

    def summary(self) -> str:
        """Two or three lines for people."""
        lines = [
            f"{self.variant} ({self.family}), {self.layout} layout, {self.dtype}: {self.used} of {self.tensors} "
            f"tensors used, {self.parameters / 1e6:.1f} M parameters"
        ]
        lines += [f"dropped {count}: {reason}" for reason, count in self.dropped.items()]
        return "\n".join([*lines, *(f"note: {note}" for note in self.notes)])

    def check(self) -> None:
        """Refuse a checkpoint that does not fit its own config exactly.

        Raises:
            WeightsMismatchError: tensors are missing, misshapen, or unknown inside a network.
        """
        found: list[str] = []
        if self.missing:
            found.append(f"{len(self.missing)} missing ({some_keys(self.missing)})")
        if self.mismatched:
            first = self.mismatched[0]
            wrong = f"{first.name} is {list(first.found)} instead of {list(first.expected)}"
            found.append(f"{len(self.mismatched)} of another shape ({wrong})")
        if self.unexpected_inside:
            found.append(f"{len(self.unexpected_inside)} unknown ({some_keys(self.unexpected_inside)})")
        if found:
            remedy = "The file is incomplete or a variant that is not supported: use the original release."
            raise WeightsMismatchError(explain(f"every tensor of {self.variant}", "; ".join(found), remedy))


def account(checkpoint: Checkpoint, detection: Detection) -> tuple[LoadReport, dict[Part, tuple[Rule, ...]]]:
    """Match a checkpoint of ours against the rules of its config: the report, and the rules to load by."""
    if detection.config is None:
        raise ValueError("only a recognised model has an account")
    rules = rules_from(detection.places, detection.config)
    expected = {
        name: shape
        for table in rules.values()
        for rule in table
        for name, shape in zip(rule.sources, rule.shapes, strict=True)
    }
    present = [name for name in expected if name in checkpoint.tensors]
    left = [name for name in checkpoint.tensors if name not in expected]
    reasons = {name: _drop_reason(name, detection.places) for name in left}
    unexpected = tuple(name for name, reason in reasons.items() if reason is None)
    report = LoadReport(
        source=str(checkpoint.path),
        family=detection.family,
        variant=detection.config.name,
        layout=detection.layout,
        dtype=main_dtype(checkpoint),
        tensors=len(checkpoint.tensors),
        parameters=sum(info.count for info in checkpoint.tensors.values()),
        bytes=sum(info.nbytes for info in checkpoint.tensors.values()),
        parts=tuple(rules),
        used=len(present),
        dropped=dict(Counter(reason for reason in reasons.values() if reason is not None)),
        missing=tuple(name for name in expected if name not in checkpoint.tensors),
        unexpected=unexpected,
        unexpected_inside=tuple(name for name in unexpected if _inside(name, detection.places)),
        mismatched=tuple(_mismatches(checkpoint, expected)),
        notes=detection.notes,
    )
    return report, rules


def main_dtype(checkpoint: Checkpoint) -> str:
    """The dtype most bytes are stored in, by its torch name; "none" for an empty file."""
    sizes: Counter[str] = Counter()
    for info in checkpoint.tensors.values():
        sizes[info.dtype] += info.nbytes
    return DTYPE_NAMES.get(most := sizes.most_common(1)[0][0], most.lower()) if sizes else "none"


def _mismatches(checkpoint: Checkpoint, expected: Mapping[str, tuple[int, ...]]) -> Iterator[Mismatch]:
    for name, shape in expected.items():
        found = checkpoint.shape(name)
        if found is not None and found != shape:
            yield Mismatch(name, shape, found)


def _drop_reason(name: str, places: Places) -> str | None:
    """Why a tensor no rule mentions is of no use, or None if nobody knows it."""
    if name.endswith(_NO_WEIGHTS):
        return "an index or a mask, not a weight"
    if _inside(name, places):
        return None
    if piece := _piece_elsewhere(name):
        return f"a second {piece} of the autoencoder beside the one used"
    return next((reason for prefix, reason in _DROPS if name.startswith(prefix)), None)


def _inside(name: str, places: Places) -> bool:
    """Whether a tensor lies in a network that is used, where an unknown tensor changes what it computes."""
    return any(owns(piece, place, name) for piece, place in places.named().items())


def _piece_elsewhere(name: str) -> Piece | None:
    """The half of an autoencoder a tensor belongs to, wherever a published file may keep one."""
    prefix = next((prefix for prefix in (FIRST_STAGE, *CONDITIONERS) if name.startswith(prefix)), None)
    if prefix is None:
        return None
    halves: tuple[Piece, ...] = ("encoder", "decoder")
    return next((piece for piece in halves if owns(piece, Place(prefix, "sgm"), name)), None)


def as_json(report: LoadReport) -> dict[str, object]:
    """The report as plain data for programs."""
    return {field.name: _plain(getattr(report, field.name)) for field in dataclasses.fields(report)}


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, tuple):
        return [
            dataclasses.asdict(item) if dataclasses.is_dataclass(item) and not isinstance(item, type) else item
            for item in value
        ]
    return value
