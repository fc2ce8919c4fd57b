"""One place for numeric limits: relative maximum error a dtype may show against a reference."""

from __future__ import annotations

from torch import Tensor


def relative_max(actual: Tensor, expected: Tensor) -> float:
    """max |actual - expected| / max |expected|."""
    return float((actual.double() - expected.double()).abs().max() / expected.double().abs().max())


def relative_l2(actual: Tensor, expected: Tensor) -> float:
    """||actual - expected|| / ||expected||."""
    return float((actual.double() - expected.double()).norm() / expected.double().norm())


def assert_close(actual: Tensor, expected: Tensor, limit: float) -> None:
    """Fail with the number beside the limit when the relative maximum error is too large."""
    assert actual.shape == expected.shape, f"shape {tuple(actual.shape)} against {tuple(expected.shape)}"
    error = relative_max(actual, expected)
    assert error <= limit, f"relative max error {error:.3e} above {limit:.1e}"
