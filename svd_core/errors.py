"""Errors an artist may see. Every message has three parts: expected, found, what to do next."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

_KEYS_SHOWN = 5


class SvdError(Exception):
    """Base of everything this package raises on purpose; its text is fit to be shown as it is."""


class InputError(SvdError):
    """A value the caller chose is out of range, of the wrong kind or impossible together with others."""


class FileFormatError(SvdError):
    """A file is truncated, corrupt, unsafe, or not what its name says."""


class OutputError(SvdError):
    """A result could not be written: the disk is full, or the place allows no writing."""


class UnsupportedModelError(SvdError):
    """A file is healthy but belongs to a model family this package does not run."""


class WeightsMismatchError(SvdError):
    """A checkpoint of the right family whose tensors do not fit the network."""


class NumericsError(SvdError):
    """A network produced NaN or infinity; the text says in which stage."""


class DamagedWeightsError(FileFormatError, NumericsError):
    """A file holds NaN or infinite weights."""


class OutOfMemoryError(SvdError):
    """Memory ran out even at the leanest plan."""


class Cancelled(SvdError):
    """The user stopped the work between two steps; nothing is wrong."""


def explain(expected: str, found: str, remedy: str) -> str:
    """Join the three parts of an error message into one line."""
    return f"Expected {expected}; found {found}. {remedy}"


def damaged_weights(file: str, tensor: str) -> DamagedWeightsError:
    """The error for a file with NaN or infinity in a tensor."""
    remedy = "The file is damaged or a failed training run: use another one."
    return DamagedWeightsError(explain(f"finite weights in {file}", f"NaN or infinity in {tensor}", remedy))


def choose_from(name: str, value: object, valid: Iterable[str]) -> str:
    """Message for a choice that is not in the list of valid ones."""
    listed = ", ".join(valid)
    return explain(f"`{name}` to be one of {listed}", repr(value), "Pick one of the listed names.")


def some_keys(keys: Sequence[str]) -> str:
    """At most five keys and the total, for messages about state dicts."""
    shown = ", ".join(keys[:_KEYS_SHOWN])
    more = len(keys) - _KEYS_SHOWN
    return f"{shown} and {more} more" if more > 0 else shown
