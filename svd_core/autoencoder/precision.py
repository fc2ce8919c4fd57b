"""Never a black frame: pieces that overflow in half precision are computed again in float32, or refused by name."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from ..errors import NumericsError, explain
from .decoder import Decoder

logger = logging.getLogger(__name__)


def float32_twin(decoder: Decoder) -> Decoder:
    """A float32 copy that lives as long as the caller needs it; the decoder itself stays as it is."""
    return copy.deepcopy(decoder).float()


def guarded(
    pieces: Iterator[Tensor], redo: Callable[[int], Iterator[Tensor]] | None, first: int = 0
) -> Iterator[Tensor]:
    """The pieces `t c h w` of a clip as float32 while they are finite, and those of `redo` from the first that is not.

    `redo(frame)` gives float32 pieces from that frame on; None says that this is float32 already. `first` is the
    number of the first frame.

    Raises:
        NumericsError: a frame is not finite in float32 either.
    """
    frame = first
    for piece in pieces:
        bad = _not_finite(piece, frame)
        if not bad:
            frame += piece.shape[0]
            yield piece.float()
            continue
        if redo is None:
            raise NumericsError(_not_decodable(bad))
        logger.warning("Frames %s are not finite; decoding from there in float32.", _listed(bad))
        yield from guarded(redo(frame), None, frame)
        return


def refuse_not_finite(latents: Tensor) -> None:
    """No precision helps a latent that is NaN itself.

    Raises:
        NumericsError: with the numbers of the frames.
    """
    bad = _not_finite(latents, 0)
    if bad:
        raise NumericsError(
            explain(
                "finite latents",
                f"NaN or infinity in frames {_listed(bad)} before decoding",
                "Sampling went wrong: sample again in float32, or with fewer extensions on the model.",
            )
        )


def _not_finite(piece: Tensor, first: int) -> list[int]:
    finite = torch.isfinite(piece).flatten(1).all(dim=1)
    return [first + index for index, good in enumerate(finite.tolist()) if not good]


def _not_decodable(bad: list[int]) -> str:
    return explain(
        "finite pixels",
        f"NaN or infinity in frames {_listed(bad)} even in float32",
        "The autoencoder's weights or the latents are damaged: load the file again or sample again.",
    )


def _listed(frames: list[int]) -> str:
    return ", ".join(map(str, frames))
