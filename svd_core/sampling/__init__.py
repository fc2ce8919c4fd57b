"""From noise to latents: schedules, preconditioning, guidance, solvers and the loop that runs them."""

from __future__ import annotations

from .bounded import BETWEEN_METHODS, BetweenMethod, Bounded, Direction, Predict, sample_bounded
from .denoiser import Network, Preconditioning, VDenoiser, noised, pure_noise
from .guidance import (
    GUIDANCE_SHAPES,
    Guidance,
    GuidanceCurve,
    combine,
    guidance_weights,
    guided_in_turn,
    guided_together,
    needs_unconditional,
    parse_guidance,
)
from .loop import OnStep, sample
from .noise import NoiseSource, Stream, clip_generator, clip_seeds, draw, solver_noise
from .preview import preview
from .schedules import SCHEDULE_NAMES, ScheduleName, check_sigmas, make_schedule, starting_at
from .solvers import SOLVER_NAMES, Solver, SolverName, get_solver

__all__ = [
    "BETWEEN_METHODS",
    "GUIDANCE_SHAPES",
    "SCHEDULE_NAMES",
    "SOLVER_NAMES",
    "BetweenMethod",
    "Bounded",
    "Direction",
    "Guidance",
    "GuidanceCurve",
    "Network",
    "NoiseSource",
    "OnStep",
    "Preconditioning",
    "Predict",
    "ScheduleName",
    "Solver",
    "SolverName",
    "Stream",
    "VDenoiser",
    "check_sigmas",
    "clip_generator",
    "clip_seeds",
    "combine",
    "draw",
    "get_solver",
    "guidance_weights",
    "guided_in_turn",
    "guided_together",
    "make_schedule",
    "needs_unconditional",
    "noised",
    "parse_guidance",
    "preview",
    "pure_noise",
    "sample",
    "sample_bounded",
    "solver_noise",
    "starting_at",
]
