"""How the decoder calls its norms: through a `Normalise`, so that decoding a clip in pieces can watch or replace
the statistics (`statistics.py`) without the networks knowing."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor, nn


class Normalise(Protocol):
    """A way to call a group norm."""

    def __call__(self, norm: nn.GroupNorm, x: Tensor, repeated: int = 0) -> Tensor:
        """x `(b t) c h w` (one norm a frame) or `b c t h w` (one norm for the whole clip), normalised.

        The first `repeated` frames of x were given to the same norm before, so they do not count again.
        """
        ...


def own_statistics(norm: nn.GroupNorm, x: Tensor, repeated: int = 0) -> Tensor:
    """The plain call: statistics of x itself."""
    return norm(x)
