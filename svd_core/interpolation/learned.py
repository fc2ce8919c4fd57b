"""Networks that make frames between two, as engines: any size, any number of channels, several frames at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from ..memory import with_leaner_retry
from .alpha import laid, lifted
from .cuts import colours
from .engines import Gap


class Network(Protocol):
    """A network for frames `B C H W`, C 3 or more, whose H and W are multiples of `multiple`."""

    @property
    def multiple(self) -> int:
        """See above."""
        ...

    def encoded(self, frames: Tensor) -> Tensor:
        """What can be worked out of frames `B 3 H W` alone, and serves every pair they belong to."""
        ...

    def frames_at(self, first: Tensor, second: Tensor, times: Tensor, encoded: tuple[Tensor, Tensor]) -> Tensor:
        """The frames `B C H W` at `times` `B`, given `encoded` of both sides."""
        ...


@dataclass(frozen=True, slots=True)
class _Side:
    """A frame as the network takes it, and what it is by itself."""

    frame: Tensor
    picture: Tensor
    code: Tensor


@dataclass(frozen=True, slots=True)
class _Row:
    """One frame to make."""

    first: _Side
    second: _Side
    time: float


class LearnedEngine:
    """An `Engine` around a network. It is shown transparent frames over grey: what is hidden colours nothing.

    Args:
        network: see `Network`.
        name: see `Engine`.
        device, dtype: where and in what the network computes.
        batch: frames made at once; if memory runs out, one at a time.
    """

    def __init__(
        self, network: Network, name: str, *, device: torch.device, dtype: torch.dtype, batch: int = 1
    ) -> None:
        self.network, self.name, self.gaps_at_once = network, name, batch
        self._device, self._dtype = device, dtype
        self._last: _Side | None = None
        self.notices: list[str] = []
        """What went wrong and was mended."""

    def between(self, gaps: Sequence[Gap]) -> Iterator[Tensor]:
        """See `Engine.between`."""
        rows: list[_Row] = []
        for gap in gaps:
            first, second = self._side(gap.first), self._side(gap.second)
            for time in gap.times:
                rows.append(_Row(first, second, time))
                if len(rows) == self.gaps_at_once:
                    yield from self._made(rows)
                    rows = []
        yield from self._made(rows)

    def _made(self, rows: Sequence[_Row]) -> Iterator[Tensor]:
        if rows:
            leaner = 1 if len(rows) > 1 else None
            yield from with_leaner_retry(
                "making frames", lambda at_once: self._run(rows, at_once), len(rows), leaner, self._notice
            )

    def _notice(self, text: str) -> None:
        self.gaps_at_once = 1
        self.notices.append(text)

    @torch.no_grad()
    def _run(self, rows: Sequence[_Row], at_once: int) -> list[Tensor]:
        made: list[Tensor] = []
        for start in range(0, len(rows), at_once):
            part = rows[start : start + at_once]
            sides = [row.first for row in part], [row.second for row in part]
            first, second = (torch.cat([one.picture for one in side]) for side in sides)
            codes = [torch.cat([one.code for one in side]) for side in sides]
            times = torch.tensor([row.time for row in part], device=self._device)
            output = self.network.frames_at(first, second, times, (codes[0], codes[1]))
            made += [
                as_frame(lifted(picture[None].float())[0], row.first.frame)
                for picture, row in zip(output, part, strict=True)
            ]
        return made

    @torch.no_grad()
    def _side(self, frame: Tensor) -> _Side:
        """A frame made ready; the one that ended the gap before is known already."""
        last = self._last
        if last is not None and last.frame.shape == frame.shape and torch.equal(last.frame, frame):
            return last
        picture = laid(as_picture(frame.to(self._device), self.network.multiple)).to(self._dtype)
        self._last = _Side(frame, picture, self.network.encoded(picture[:, :3]))
        return self._last


def as_picture(frame: Tensor, multiple: int) -> Tensor:
    """A frame `H W C` as float32 `1 D H W` in [0, 1]: three colours, then whatever else it has (alpha).

    H and W grow to a multiple of `multiple` by repeating the last row and column.
    """
    own = min(3, frame.shape[-1]) if frame.shape[-1] != 2 else 1
    picture = torch.cat((colours(frame), frame.permute(2, 0, 1)[None, own:].float()), dim=1).clamp(0, 1)
    height, width = picture.shape[-2:]
    return F.pad(picture, (0, -width % multiple, 0, -height % multiple), mode="replicate")


def as_frame(picture: Tensor, like: Tensor) -> Tensor:
    """A picture `D H W` of `as_picture`'s kind as a float32 frame in [0, 1] of the shape of the frame `like`."""
    height, width, channels = like.shape
    frame = picture[:, :height, :width].permute(1, 2, 0).float().clamp(0, 1)
    return frame if channels >= 3 else torch.cat((frame[..., :3].mean(dim=2, keepdim=True), frame[..., 3:]), dim=2)
