"""A change of light between two frames: gain and offset a channel, taken out before motion is looked for.

Auto-exposure, flicker and fades change colours everywhere at once. Left in, they read as motion wherever there is a
gradient, and make every match look wrong.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .alpha import colours_in, has_alpha

# Contrast below which a gain cannot be told.
_FLAT = 0.01
_GAIN_RANGE = (0.4, 2.5)
# Smaller changes are noise of the measurement.
_LEAST_GAIN, _LEAST_OFFSET = 0.02, 0.006


@dataclass(frozen=True, slots=True)
class Light:
    """`second = gain * first + offset`, both `1 C 1 1`."""

    gain: Tensor
    offset: Tensor

    @staticmethod
    def neutral(like: Tensor) -> Light:
        """No change."""
        return Light(like.new_ones(1, like.shape[1], 1, 1), like.new_zeros(1, like.shape[1], 1, 1))

    @staticmethod
    def of_contrast(first: Tensor, second: Tensor, weight: Tensor | None = None) -> Light:
        """The change that makes mean and deviation of two pictures `1 C H W` equal, weighted by `1 1 H W`.

        Of matched pixels this is the fit that favours neither side: least squares would take every mismatch for a
        loss of contrast.
        """
        weight = torch.ones_like(first[:, :1]) if weight is None else weight
        (mean, deviation), (other_mean, other_deviation) = _moments(first, weight), _moments(second, weight)
        gain = ((other_deviation + _FLAT) / (deviation + _FLAT)).clamp(*_GAIN_RANGE)
        return Light(gain, other_mean - gain * mean)

    def then(self, later: Light) -> Light:
        """Both changes as one, this one on what `later` made."""
        return Light(self.gain * later.gain, self.gain * later.offset + self.offset)

    def settled(self) -> Light:
        """No change at all where this one is too small to be sure of."""
        small = ((self.gain - 1).abs() < _LEAST_GAIN) & (((self.gain - 1) / 2 + self.offset).abs() < _LEAST_OFFSET)
        return Light(torch.where(small, 1.0, self.gain), torch.where(small, 0.0, self.offset))

    def done(self, first: Tensor, part: float = 1.0) -> Tensor:
        """A picture `1 C H W` in the light of the first frame, in the light of the time `part`.

        Alpha stays, and colours must be weighed by it.
        """
        gain, offset = self._of(first)
        colours = first[:, : gain.shape[1]]
        changed = colours * (1 + part * (gain - 1)) + part * offset
        return torch.cat((changed, first[:, gain.shape[1] :]), dim=1)

    def undone(self, second: Tensor) -> Tensor:
        """A picture in the light of the second frame, in that of the first."""
        gain, offset = self._of(second)
        return torch.cat(((second[:, : gain.shape[1]] - offset) / gain, second[:, gain.shape[1] :]), dim=1)

    def _of(self, picture: Tensor) -> tuple[Tensor, Tensor]:
        """Gain and offset for the colours a picture has: what is half seen takes half of the offset."""
        channels = picture.shape[1]
        count = colours_in(channels)
        share = picture[:, -1:] if has_alpha(channels) else torch.ones_like(picture[:, :1])
        return self.gain[:, :count], self.offset[:, :count] * share

    @property
    def changed(self) -> bool:
        """Whether there is anything to do."""
        return bool((self.gain != 1).any() or (self.offset != 0).any())


def _moments(picture: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    total = weight.sum().clamp(min=1e-9)
    mean = (picture * weight).sum(dim=(2, 3), keepdim=True) / total
    return mean, ((picture - mean).square() * weight).sum(dim=(2, 3), keepdim=True).div(total).sqrt()
