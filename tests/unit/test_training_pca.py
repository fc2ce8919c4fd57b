"""The linear anchor."""

from __future__ import annotations

import torch

from svd_core.training.pca import fit_basis, recover_basis
from svd_core.training.worlds import TRAINING, WorldSize, draw_clips

_IMAGES = draw_clips(0, TRAINING, range(24), WorldSize(frames=1)).pixels[:, 0]


def test_latents_have_unit_variance_and_falling_deviation() -> None:
    latents = fit_basis(_IMAGES, 8, 8).encode(_IMAGES)
    assert latents.shape == (24, 8, 8, 8)
    centred = latents - latents.mean((0, 2, 3), keepdim=True)
    assert abs(float(centred.square().mean()) - 1) < 1e-3
    deviations = centred.square().mean((0, 2, 3)).sqrt()
    assert (deviations.diff() < 1e-4).all(), deviations.tolist()
    assert deviations[0] / deviations[-1] > 1.5, "half-way whitening keeps colour above detail"


def test_inverse_is_the_best_linear_one() -> None:
    errors = []
    for channels in (2, 4, 8, 192):
        basis = fit_basis(_IMAGES, 8, channels)
        errors.append(float((basis.decode(basis.encode(_IMAGES)) - _IMAGES).square().mean()))
    assert errors == sorted(errors, reverse=True), errors
    assert errors[-1] < 1e-9, f"all components must give the image back, error {errors[-1]:.1e}"


def test_signs_are_fixed() -> None:
    first, second = fit_basis(_IMAGES, 8, 8), fit_basis(_IMAGES.flip(0), 8, 8)
    assert torch.allclose(first.analysis, second.analysis, atol=1e-3)


def test_a_basis_is_recovered_from_what_an_encoder_made_of_it() -> None:
    basis = fit_basis(_IMAGES, 8, 8)
    turn = torch.linalg.qr(torch.randn(8, 8, generator=torch.Generator().manual_seed(1)))[0]

    def encode(pixels: torch.Tensor) -> torch.Tensor:
        return torch.einsum("dc,nchw->ndhw", turn, basis.encode(pixels)) + 0.3

    found = recover_basis(encode, _IMAGES, 8)
    latents = encode(_IMAGES)
    error = float((found.encode(_IMAGES) - latents).square().mean())
    assert error < 1e-3, f"latents differ by {error:.1e} of unit variance"
    inverse = float((found.decode(latents) - basis.decode(basis.encode(_IMAGES))).square().mean())
    assert inverse < 1e-4, f"inverses differ by {inverse:.1e}"
