"""Seeds: one clip's noise is its own, whatever else is drawn."""

from __future__ import annotations

import pytest
import torch

from svd_core.errors import InputError
from svd_core.sampling.noise import Stream, clip_generator, clip_seeds, draw, solver_noise


def test_latent_noise_is_the_plain_seed() -> None:
    expected = torch.randn(3, 4, 5, generator=torch.Generator().manual_seed(11))
    assert torch.equal(draw([clip_generator(11, Stream.LATENT)], (3, 4, 5))[0], expected)


def test_streams_of_one_seed_and_neighbouring_seeds_are_unrelated() -> None:
    draws = [torch.randn(20_000, generator=clip_generator(seed, stream)) for seed in (0, 1, 2**32) for stream in Stream]
    # The latent stream keeps torch's own rule, under which seeds equal modulo 2^32 are the same.
    draws = [one for index, one in enumerate(draws) if index != 2 * len(Stream)]
    correlation = torch.corrcoef(torch.stack(draws)) - torch.eye(len(draws))
    assert float(correlation.abs().max()) < 0.035, f"{float(correlation.abs().max()):.3f}"


def test_batch_is_the_clips_side_by_side() -> None:
    together = solver_noise([5, 6], (2, 3, 4, 4), torch.device("cpu"))
    alone = solver_noise([6], (2, 3, 4, 4), torch.device("cpu"))
    for _ in range(3):
        assert torch.equal(together()[2:], alone())


def test_seed_lists() -> None:
    assert clip_seeds(7, 3) == (7, 8, 9)
    assert clip_seeds(2**64 - 1, 2) == (2**64 - 1, 0)
    assert clip_seeds([4, 4], 2) == (4, 4)
    with pytest.raises(InputError, match="3 seeds"):
        clip_seeds([1], 3)
    with pytest.raises(InputError, match="seed"):
        clip_generator(-1, Stream.LATENT)
