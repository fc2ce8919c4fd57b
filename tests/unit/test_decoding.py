"""Decoding in pieces: as close to whole as claimed, in bounded memory, and never a black frame."""

from __future__ import annotations

import dataclasses
import logging
import weakref
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

from svd_core.autoencoder.autoencoder import Autoencoder
from svd_core.autoencoder.decoding import decode_clip, stream_clip
from svd_core.autoencoder.norms import own_statistics
from svd_core.autoencoder.spans import cover, shares
from svd_core.autoencoder.statistics import Statistics, Supplied
from svd_core.autoencoder.streaming import stream
from svd_core.config import AutoencoderConfig
from svd_core.errors import Cancelled, InputError, NumericsError
from tests.tiny import randomise_
from tests.tolerances import assert_close, relative_l2

CONFIG = AutoencoderConfig(
    channels=(8, 8, 16),
    res_blocks=1,
    latent_channels=3,
    norm_groups=4,
    temporal_decoder=True,
    quant_conv=False,
    post_quant_conv=True,
    scale_factor=1.0,
)
IMAGE = dataclasses.replace(CONFIG, temporal_decoder=False)


def make(config: AutoencoderConfig = CONFIG, seed: int = 1) -> Autoencoder:
    network = Autoencoder(config)
    randomise_(network, seed)
    return network.eval()


@pytest.fixture(scope="module")
def network() -> Autoencoder:
    return make()


def latents(count: int, height: int = 4, width: int = 4, seed: int = 0) -> Tensor:
    return torch.randn(count, 3, height, width, generator=torch.Generator().manual_seed(seed))


def drifting(count: int, height: int = 4, width: int = 4) -> Tensor:
    """Latents whose mean and spread change along the clip and across the picture, the hard case for statistics."""
    along = torch.linspace(0.3, 1.5, count).view(-1, 1, 1, 1)
    return latents(count, height, width) * along + along + torch.linspace(-1, 1, width)


def whole(network: Autoencoder, clip: Tensor, frames: int) -> Tensor:
    with torch.no_grad():
        return network.decode(clip, frames)


# --- covering -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("length", "size", "overlap"), [(24, 8, 4), (25, 8, 3), (9, 8, 4), (7, 8, 4), (10, 3, 0), (5, 1, 0)]
)
def test_spans_cover_once(length: int, size: int, overlap: int) -> None:
    spans = cover(length, size, overlap)
    assert (spans[0].start, spans[-1].end) == (0, length)
    assert max(span.end - span.start for span in spans) <= size
    assert all(left.end - right.start >= overlap for left, right in pairwise(spans))
    total = torch.zeros(length * 2)
    for span, share in zip(spans, shares(spans, scale=2), strict=True):
        total[span.start * 2 : span.end * 2] += share
    assert_close(total, torch.ones(length * 2), 1e-6)


# --- statistics ---------------------------------------------------------------------------------------------------


def test_supplied_statistics_equal_the_norm() -> None:
    """Measured over x and used on x, it is the group norm itself; and measured in two parts."""
    decoder = nn.Sequential(nn.GroupNorm(2, 6))
    randomise_(decoder)
    norm = decoder[0]
    clip = torch.randn(1, 6, 5, 3, 4, generator=torch.Generator().manual_seed(0)) * 3 + 1
    measured = Statistics()
    counting = Supplied(decoder, measured=measured)
    with torch.no_grad():
        counting(norm, clip[:, :, :3])
        counting(norm, clip[:, :, 2:], repeated=1)
        assert_close(Supplied(decoder, known=measured)(norm, clip), norm(clip), 1e-6)
        half = Supplied(decoder.half(), known=measured)(norm, clip.half())
        assert_close(half.float(), norm(clip.half()).float(), 2e-3)


def test_spatial_norms_are_measured_per_frame() -> None:
    decoder = nn.Sequential(nn.GroupNorm(2, 6))
    frames = torch.randn(3, 6, 4, 8, generator=torch.Generator().manual_seed(0))
    measured = Statistics()
    with torch.no_grad():
        Supplied(decoder, measured=measured, per_frame=True)(decoder[0], frames[:1])
        Supplied(decoder, measured=measured, per_frame=True, first_frame=1)(decoder[0], frames[1:])
        whole_frames = decoder[0](frames)
        tile = Supplied(decoder, known=measured, per_frame=True)(decoder[0], frames[..., :3])
    assert_close(tile, whole_frames[..., :3], 1e-6)


# --- chunks -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("frames", [1, 2, 9])
@pytest.mark.parametrize("chunk", [1, 2, 4])
def test_streaming_is_exact_given_the_statistics(network: Autoencoder, frames: int, chunk: int) -> None:
    clip = network.unquantise(latents(frames)).detach()
    measured = Statistics()
    with torch.no_grad():
        expected = network.decoder(clip, frames, Supplied(network.decoder, measured=measured))
        known = Supplied(network.decoder, known=measured)
        pieces = list(stream(network.decoder, clip.split(chunk), known, known, lambda x: x))
    assert max(piece.shape[0] for piece in pieces) <= max(chunk, 2)
    assert_close(torch.cat(pieces), expected, 2e-5)


def test_one_chunk_is_the_plain_decode(network: Autoencoder) -> None:
    assert torch.equal(decode_clip(network, latents(6), 6, chunk=6), whole(network, latents(6), 6))


@pytest.mark.parametrize("make_latents", [latents, drifting])
def test_chunks_leave_at_most_a_third_of_the_error(network: Autoencoder, make_latents: object) -> None:
    clip = make_latents(20)
    expected = whole(network, clip, 20)
    hard = relative_l2(decode_clip(network, clip, 20, chunk=5, overlap=0), expected)
    once = relative_l2(decode_clip(network, clip, 20, chunk=5, overlap=2), expected)
    twice = relative_l2(decode_clip(network, clip, 20, chunk=5, overlap=2, measuring_passes=2), expected)
    print(f"hard {hard:.4f}, measured once {once:.4f}, twice {twice:.4f}")
    assert hard > 0.05, f"hard chunks differ by only {hard:.1e}: this test cannot fail"
    assert once < hard / 6, f"error {once:.4f} against {hard:.4f} of hard chunks"
    assert twice < once, f"a second measuring pass left {twice:.4f} of {once:.4f}"


def test_hard_chunks_are_clips_of_their_own(network: Autoencoder) -> None:
    expected = torch.cat([whole(network, part, len(part)) for part in latents(7).split(3)])
    assert torch.equal(decode_clip(network, latents(7), 7, chunk=3, overlap=0), expected)


def test_clips_of_one_batch_stay_apart(network: Autoencoder) -> None:
    both = torch.cat([latents(6), drifting(6)])
    kept = both.clone()
    together = decode_clip(network, both, 6, chunk=4)
    assert torch.equal(together[6:], decode_clip(network, both[6:], 6, chunk=4))
    assert torch.equal(both, kept), "decoding changed its argument"


@pytest.mark.parametrize("overlap", [0, 2])
def test_image_decoder_chunks_are_exact(overlap: int) -> None:
    network = make(IMAGE)
    assert_close(decode_clip(network, latents(7), 7, chunk=3, overlap=overlap), whole(network, latents(7), 7), 1e-5)


def test_stream_gives_the_same_frames_early(network: Autoencoder) -> None:
    pieces = list(stream_clip(network, latents(24), 24, chunk=4))
    assert len(pieces) > 3
    assert torch.equal(torch.cat(pieces), decode_clip(network, latents(24), 24, chunk=4))


# --- tiles --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("config", [CONFIG, IMAGE], ids=["temporal", "image"])
def test_measured_tiles_come_closer(config: AutoencoderConfig) -> None:
    network = make(config)
    clip = drifting(3, 14, 16)
    expected = whole(network, clip, 3)
    own = relative_l2(decode_clip(network, clip, 3, tile=10, tile_overlap=4, measuring_passes=0), expected)
    measured = relative_l2(decode_clip(network, clip, 3, tile=10, tile_overlap=4), expected)
    print(f"tiles with their own statistics {own:.4f}, measured {measured:.4f}")
    assert own > 0.05, f"tiles differ by only {own:.1e}: this test cannot fail"
    assert measured < own / 4, f"error {measured:.4f} against {own:.4f} with each tile's own statistics"


def test_tiles_and_chunks_together(network: Autoencoder) -> None:
    clip = drifting(8, 12, 12)
    expected = whole(network, clip, 8)
    own, measured = (
        relative_l2(decode_clip(network, clip, 8, chunk=4, tile=8, tile_overlap=4, measuring_passes=passes), expected)
        for passes in (0, 1)
    )
    print(f"tiles and chunks with their own statistics {own:.4f}, measured {measured:.4f}")
    assert measured < own / 1.5, f"error {measured:.4f} against {own:.4f} without measuring"


# --- somebody else's decoder --------------------------------------------------------------------------------------


def test_foreign_chunks_are_faded(network: Autoencoder) -> None:
    clip = latents(20)
    expected = whole(network, clip, 20)

    def decode(part: Tensor, frames: int) -> Tensor:
        return network.decode(part, frames)

    hard = relative_l2(decode_clip(decode, clip, 20, chunk=8, overlap=0), expected)
    faded = relative_l2(decode_clip(decode, clip, 20, chunk=8, overlap=4), expected)
    assert faded < hard / 1.5, f"error {faded:.4f} against {hard:.4f} of hard chunks"
    assert torch.equal(decode_clip(decode, clip, 20, chunk=20), expected)


def test_foreign_tiles_of_a_local_decoder_are_exact() -> None:
    """Nearest enlargement sees one cell at a time, so tiles of it must blend to itself."""

    def decode(part: Tensor, frames: int) -> Tensor:
        return part.repeat_interleave(2, dim=-1).repeat_interleave(2, dim=-2)

    clip = latents(5, 9, 11)
    assert_close(decode_clip(decode, clip, 5, chunk=3, overlap=1, tile=4, tile_overlap=2), decode(clip, 5), 1e-6)


# --- precision ----------------------------------------------------------------------------------------------------


def overflowing(level: float) -> Autoencoder:
    """A network whose last levels pass the largest float16 where the latents are large, and float32 does not mind."""
    network = make()
    with torch.no_grad():
        for block in network.decoder.up[0].block:
            block.conv2.weight.mul_(level)
        network.decoder.conv_out.weight.mul_(1 / level)
    return network


@pytest.mark.parametrize("chunk", [3, 12], ids=["chunks", "whole"])
def test_overflow_is_done_again_in_float32(chunk: int, caplog: pytest.LogCaptureFixture) -> None:
    network = overflowing(3e4)
    expected = decode_clip(network, latents(12), 12, chunk=chunk)
    with caplog.at_level(logging.WARNING, logger="svd_core.autoencoder.precision"):
        frames = decode_clip(network.half(), latents(12), 12, chunk=chunk)
    assert not network.half().decode(latents(12).half(), 12).isfinite().all(), (
        "nothing overflows: this test cannot fail"
    )
    assert frames.isfinite().all()
    assert "float32" in caplog.text
    assert relative_l2(frames, expected) < 0.02, f"error {relative_l2(frames, expected):.4f} above 0.02"


def test_float32_takes_over_in_mid_clip(network: Autoencoder) -> None:
    """A foreign decoder that breaks on float16 in its second chunk only: the frames before stay as they were."""
    calls: list[torch.dtype] = []

    def decode(part: Tensor, frames: int) -> Tensor:
        calls.append(part.dtype)
        broken = part.dtype == torch.float16 and len(calls) == 2
        return torch.full((frames, 3, 8, 8), float("nan") if broken else float(len(calls)))

    frames = decode_clip(decode, latents(6).half(), 6, chunk=2, overlap=0)
    assert calls == [torch.float16, torch.float16, torch.float32, torch.float16]
    assert frames[:, 0, 0, 0].tolist() == [1, 1, 3, 3, 4, 4]


def test_hopeless_frames_are_named() -> None:
    def decode(part: Tensor, frames: int) -> Tensor:
        pixels = torch.zeros(frames, 3, 8, 8)
        pixels[part[:, 0, 0, 0] > 50] = float("inf")
        return pixels

    clip = latents(6)
    clip[4, 0, 0, 0] = 100
    with pytest.raises(NumericsError, match="frames 4 even in float32"):
        decode_clip(decode, clip, 6, chunk=3, overlap=0)


def test_damaged_weights_are_refused() -> None:
    network = make()
    with torch.no_grad():
        network.decoder.mid.block_1.conv1.weight[0, 0, 0, 0] = float("nan")
    for chunk in (3, 8):
        with pytest.raises(NumericsError, match="float32"):
            decode_clip(network, latents(8), 8, chunk=chunk)


def test_latents_that_are_not_finite_are_named(network: Autoencoder) -> None:
    clip = latents(6)
    clip[2, 1, 0, 0] = float("nan")
    with pytest.raises(NumericsError, match="frames 2 before decoding"):
        decode_clip(network, clip, 6)


# --- conduct ------------------------------------------------------------------------------------------------------


def test_memory_does_not_grow_with_the_clip(network: Autoencoder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten times the frames, the same most elements alive at once among all norms' inputs."""

    def peak(frames: int, chunk: int = 2) -> int:
        alive: weakref.WeakSet[Tensor] = weakref.WeakSet()
        most = 0
        plain = nn.GroupNorm.forward

        def watched(norm: nn.GroupNorm, x: Tensor) -> Tensor:
            nonlocal most
            normed = plain(norm, x)
            alive.add(x)
            alive.add(normed)
            storages = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in alive}
            most = max(most, sum(storages.values()))
            return normed

        with monkeypatch.context() as patch:
            patch.setattr(nn.GroupNorm, "forward", watched)
            for _ in stream_clip(network, latents(frames), frames, chunk=chunk, measuring_passes=0):
                pass
        return most

    short, long = peak(12), peak(120)
    assert long <= 1.05 * short, f"{long} bytes held for 120 frames, {short} for 12"
    assert peak(60, chunk=60) > 2 * short, "a whole clip holds no more: this test cannot fail"


def test_progress_counts_every_pass(network: Autoencoder) -> None:
    seen: list[tuple[int, int]] = []
    decode_clip(network, latents(12), 6, chunk=2, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(done, 24) for done in range(0, 24, 2)]


def test_a_callback_may_cancel(network: Autoencoder) -> None:
    def cancel(done: int, total: int) -> None:
        if done >= 4:
            raise Cancelled("stopped")

    with pytest.raises(Cancelled):
        decode_clip(network, latents(12), 12, chunk=2, progress=cancel)


def test_gradients_are_not_recorded(network: Autoencoder) -> None:
    assert not decode_clip(network, latents(5), 5, chunk=2).requires_grad
    assert torch.is_grad_enabled()


@pytest.mark.parametrize(
    "wrong",
    [{"chunk": 0}, {"overlap": -1}, {"tile": 0}, {"tile": 4, "tile_overlap": 4}, {"num_frames": 4}, {"num_frames": 0}],
    ids=str,
)
def test_impossible_choices_are_refused(network: Autoencoder, wrong: dict[str, int]) -> None:
    with pytest.raises(InputError):
        decode_clip(network, latents(6), **{"num_frames": 6, **wrong})


def test_own_statistics_is_the_plain_call() -> None:
    norm, x = nn.GroupNorm(2, 4), torch.randn(1, 4, 3, 3, generator=torch.Generator().manual_seed(0))
    assert torch.equal(own_statistics(norm, x, repeated=1), norm(x))
