"""Photographs behind the procedural worlds: where they come from, who sees which; drawn worlds stay as drawn."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor

from svd_core.errors import InputError
from svd_core.training import photographs, textures
from svd_core.training.pca import fit_basis
from svd_core.training.photographs import SIDE, TABLE, read_photographs
from svd_core.training.pool import ClipPool
from svd_core.training.worlds import HELD_OUT, TRAINING, WorldSize, clip_generator, draw_clips, draw_world, texels

SIZE = WorldSize(frames=3)


def _photo(height: int = 90, width: int = 130, seed: int = 0) -> Tensor:
    return textures.clouds(
        torch.Generator().manual_seed(seed),
        textures.palette(torch.Generator().manual_seed(seed)),
        max(height, width),
        2.8,
    )[:, :height, :width].clamp(0, 1)


def _save(folder: Path, count: int, height: int = 90, width: int = 130) -> None:
    for index in range(count):
        pixels = (_photo(height, width, index).permute(1, 2, 0) * 255).to(torch.uint8).numpy()
        Image.fromarray(pixels).save(folder / f"{index:02}.png")


def test_the_rest_of_a_world_is_the_same_with_and_without_a_photograph() -> None:
    for index in range(8):
        drawn = draw_world(clip_generator(3, TRAINING, index), SIZE)
        papered = draw_world(clip_generator(3, TRAINING, index), SIZE, photographs=[_photo()], photo_share=1.0)
        assert not torch.equal(drawn.background, papered.background)
        assert (drawn.move, drawn.fps, drawn.start, drawn.parallax) == (
            papered.move,
            papered.fps,
            papered.start,
            papered.parallax,
        )
        assert [thing.place for thing in drawn.subjects] == [thing.place for thing in papered.subjects]


def test_the_share_says_how_many_worlds_have_one() -> None:
    photos = [_photo()]
    for share, low, high in ((0.0, 0, 0), (0.2, 12, 32), (1.0, 100, 100)):
        changed = sum(
            not torch.equal(
                draw_world(clip_generator(9, HELD_OUT, index), WorldSize(frames=1, height=16, width=16)).background,
                draw_world(
                    clip_generator(9, HELD_OUT, index),
                    WorldSize(frames=1, height=16, width=16),
                    photographs=photos,
                    photo_share=share,
                ).background,
            )
            for index in range(100)
        )
        assert low <= changed <= high, f"{changed} of 100 at a share of {share}"


def test_a_clip_with_a_photograph_follows_from_seed_split_and_index_alone() -> None:
    photos = [_photo(seed=1), _photo(seed=2)]
    alone = draw_clips(3, TRAINING, range(2, 3), SIZE, photographs=photos, photo_share=1.0)
    among = draw_clips(3, TRAINING, range(0, 3), SIZE, photographs=photos, photo_share=1.0)
    assert torch.equal(alone.pixels[0], among.pixels[2])


@pytest.mark.parametrize("shape", [(40, 300), (300, 40), (2, 2), (269, 269)])
def test_any_photograph_fills_a_background(shape: tuple[int, int]) -> None:
    side = texels(64)
    for seed in range(4):
        made = textures.photograph(torch.Generator().manual_seed(seed), torch.rand(3, *shape), side, 2.8)
        assert made.shape == (3, side, side) and made.isfinite().all()
        # Softened: neighbours differ far less than the noise the photograph is made of.
        assert made.diff(dim=-1).abs().mean() < 0.1


def test_the_mirrored_picture_has_no_seam() -> None:
    ramp = torch.linspace(0.2, 0.8, 120).expand(3, 90, 120)
    for seed in range(6):
        made = textures.photograph(torch.Generator().manual_seed(seed), ramp, 269, 2.8)
        assert made.diff(dim=-1).abs().max() < 0.03


def test_a_folder_s_every_fourth_is_held_out_and_none_is_in_both(tmp_path: Path) -> None:
    _save(tmp_path, 8)
    found = read_photographs(tmp_path)
    assert (len(found.training), len(found.held_out)) == (6, 2)
    for kept in found.held_out:
        assert not any(torch.equal(kept, trained) for trained in found.training)


def test_photographs_are_reduced_and_never_enlarged(tmp_path: Path) -> None:
    _save(tmp_path, 2, 400, 700)
    assert read_photographs(tmp_path, side=100).training[0].shape == (3, 100, 175)
    assert read_photographs(tmp_path, side=5000).training[0].shape == (3, 400, 700)


def test_the_fingerprint_tells_pictures_splits_and_sides_apart(tmp_path: Path) -> None:
    _save(tmp_path, 4)
    first = read_photographs(tmp_path).fingerprint
    assert read_photographs(tmp_path).fingerprint == first and len(first) == 16
    assert read_photographs(tmp_path, side=50).fingerprint != first
    (tmp_path / "03.png").rename(tmp_path / "000.png")
    assert read_photographs(tmp_path).fingerprint != first, "another picture is held out"


def test_refusals_say_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="no folder"):
        read_photographs(tmp_path / "none")
    with pytest.raises(InputError, match="Put png, jpg"):
        read_photographs(tmp_path)
    _save(tmp_path, 1)
    with pytest.raises(InputError, match="two photographs or more"):
        read_photographs(tmp_path)
    monkeypatch.setattr(photographs, "TABLE", (photographs.PhotographRow("no_such_package", "a.png", "x", "CC0-1.0"),))
    with pytest.raises(InputError, match="pip install scikit-image scikit-learn matplotlib"):
        read_photographs()


def test_the_table_s_licences_ask_at_most_for_the_author_s_name() -> None:
    assert {row.licence for row in TABLE} <= {"public domain", "CC0-1.0", "CC-BY-2.0", "CC-BY-4.0"}
    assert all(row.author for row in TABLE)
    assert len({row.file for row in TABLE}) == len(TABLE)
    assert 0.25 <= sum(row.held_out for row in TABLE) / len(TABLE) <= 0.4


def test_installed_photographs_are_found_without_an_import(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("skimage")
    rows = tuple(row for row in TABLE if row.package == "skimage")
    monkeypatch.setattr(photographs, "TABLE", rows)
    found = read_photographs()
    assert len(found.held_out) == sum(row.held_out for row in rows)
    assert len(found.training) + len(found.held_out) == len(rows)
    assert all(min(photo.shape[-2:]) == SIDE for photo in (*found.training, *found.held_out))


def test_the_pool_hands_photographs_through() -> None:
    images = draw_clips(0, TRAINING, range(12), WorldSize(frames=1)).pixels[:, 0]
    basis = fit_basis(images, 8, 8)
    kept: list[Tensor] = []
    for photos in ((), (_photo(),)):
        pool = ClipPool(5, SIZE, basis, chunk=16, device=torch.device("cpu"), photographs=photos)
        pool.advance(0, 1)
        kept.append(pool.batch(torch.Generator().manual_seed(0), 40).stills)
        again = ClipPool(5, SIZE, basis, chunk=16, device=torch.device("cpu"), photographs=photos)
        again.advance(0, 1)
        assert torch.equal(again.batch(torch.Generator().manual_seed(0), 40).stills, kept[-1])
    changed = (kept[0] != kept[1]).flatten(1).any(1)
    assert changed.any() and not changed.all()
