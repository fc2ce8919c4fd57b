"""The tensors of a LoRA file sorted into pairs, and the pairs matched to the layers of a network."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from ..config import NANO, SVD, UNetConfig
from ..errors import FileFormatError, SvdError, WeightsMismatchError, explain
from .lora_names import Form, Layer, Place, Role, ending, find_layer, names_of
from .reader import Shape, TensorInfo
from .source import Checkpoint

_AGAIN = "The file is damaged or was exported wrongly: fetch or export it again."
_OTHER_SIZES = "The LoRA was made for a network of other sizes: use it with the model it belongs to."
_ONE_ADAPTER = "Export one adapter at a time, in one naming."


@dataclass(slots=True)
class Group:
    """The tensors of one stem, and of one of PEFT's adapters, by role."""

    stem: str
    adapter: str
    form: Form
    tensors: dict[Role, TensorInfo] = field(default_factory=dict["Role", "TensorInfo"])

    @property
    def halves(self) -> tuple[TensorInfo, TensorInfo] | None:
        """Down and up, if both are there."""
        down, up = self.tensors.get("down"), self.tensors.get("up")
        return None if down is None or up is None else (down, up)


@dataclass(slots=True)
class Sorted:
    """A file's tensors: groups that make pairs, and the names of tensors that belong to none."""

    groups: list[Group]
    others: list[str]
    fault: SvdError | None


@dataclass(slots=True)
class Match:
    """Which network a file was matched to, which groups fit where, which are of no layer, and what is wrong.

    sizes_known: False where the names are those of the network and none of the shapes is; a network of other widths
    may still be what the file is for.
    """

    config: UNetConfig
    found: list[tuple[Group, Place]]
    lost: list[Group]
    faults: list[SvdError]
    sizes_known: bool


def sort_tensors(checkpoint: Checkpoint) -> Sorted:
    """Put together what belongs together, by the names alone."""
    groups: dict[tuple[str, str], Group] = {}
    alphas: dict[str, TensorInfo] = {}
    others: list[str] = []
    fault: SvdError | None = None
    for name, info in checkpoint.tensors.items():
        cut = ending(name)
        if cut is None:
            others.append(name)
        elif cut.role == "alpha":
            alphas[cut.stem] = info
        else:
            group = groups.setdefault((cut.stem, cut.adapter), Group(cut.stem, cut.adapter, cut.form))
            if cut.role in group.tensors:
                fault = fault or _twice(cut.stem, group.tensors[cut.role].name, name)
            group.tensors[cut.role] = info
    stems = {group.stem for group in groups.values()}
    others += [info.name for stem, info in alphas.items() if stem not in stems]
    for group in groups.values():
        if group.stem in alphas:
            group.tensors["alpha"] = alphas[group.stem]
    return Sorted(list(groups.values()), others, fault)


def match(groups: Sequence[Group], config: UNetConfig | None) -> Match:
    """Find every group's layer in the network of `config`, or in whichever known layout fits best."""
    candidates = [config] if config else [SVD.unet, NANO.unet]
    return max((_match(groups, candidate, given=config is not None) for candidate in candidates), key=_merit)


def fits(shape: Shape, down: Shape, up: Shape) -> bool:
    """Whether two halves of equal rank belong to a weight `out in ...`; kernels of 1 may be there or not."""
    outputs, inputs, *kernel = shape
    rank = down[0]
    pointwise = all(size == 1 for size in kernel)
    downs = {(rank, inputs, *kernel)} | ({(rank, inputs), (rank, inputs, 1, 1)} if pointwise else set())
    return down in downs and up[0] == outputs and all(size == 1 for size in up[2:])


def _merit(found: Match) -> tuple[int, int]:
    shaped = sum(_fitting(group, place.layer) for group, place in found.found)
    return shaped, len(found.found)


def _match(groups: Sequence[Group], config: UNetConfig, *, given: bool) -> Match:
    names = names_of(config)
    places = [(group, find_layer(names, group.stem)) for group in groups]
    found = [(group, place) for group, place in places if place is not None]
    lost = [group for group, place in places if place is None]
    known = given or not found or any(_fitting(group, place.layer) for group, place in found)
    faults = [*_doubled(found), *(fault for group, place in found for fault in _faults(group, place.layer, known))]
    return Match(config, found, lost, faults, known)


def _fitting(group: Group, layer: Layer) -> bool:
    return _ranks(group) and group.halves is not None and fits(layer.shape, *(half.shape for half in group.halves))


def _ranks(group: Group) -> bool:
    """Whether both halves are there and agree on a rank."""
    if group.halves is None:
        return False
    down, up = (half.shape for half in group.halves)
    return len(down) > 1 and len(up) > 1 and down[0] == up[1] > 0


def _faults(group: Group, layer: Layer, sizes_known: bool) -> Iterable[SvdError]:
    if group.halves is None:
        lone = next(info.name for role, info in group.tensors.items() if role != "alpha")
        yield FileFormatError(explain("a down and an up projection for every layer", f"only {lone}", _AGAIN))
        return
    down, up = (half.shape for half in group.halves)
    shapes = f"down {list(down)} and up {list(up)}"
    if not _ranks(group):
        expected = f"the same rank in both projections of {group.stem}"
        yield WeightsMismatchError(explain(expected, shapes, _AGAIN))
    elif sizes_known and not fits(layer.shape, down, up):
        expected = f"projections for {layer.name} of shape {list(layer.shape)}"
        yield WeightsMismatchError(explain(expected, shapes, _OTHER_SIZES))


def _doubled(found: Iterable[tuple[Group, Place]]) -> Iterable[SvdError]:
    first: dict[str, Group] = {}
    for group, place in found:
        name = place.layer.name
        if name in first:
            yield _twice(name, _shown(first[name]), _shown(group))
        first.setdefault(name, group)


def _shown(group: Group) -> str:
    return next(info.name for info in group.tensors.values())


def _twice(stem: str, first: str, second: str) -> FileFormatError:
    return FileFormatError(explain(f"one pair for {stem}", f"two ({first} and {second})", _ONE_ADAPTER))
