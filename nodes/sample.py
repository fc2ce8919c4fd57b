"""Sampling with svd_core's solvers and schedules on any MODEL of the SVD family, clip by clip."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..svd_core.sampling.schedules import SCHEDULE_NAMES
from ..svd_core.sampling.solvers import SOLVER_NAMES
from .choices import listed, verdict
from .conditioning_parts import MAX_SEED
from .host import io, ui

if TYPE_CHECKING:
    from .clips import Conditioning, Latent
    from .host import ModelPatcher


class SVDStudioSampler(io.ComfyNode):
    """KSampler's counterpart that knows what a clip is."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Inputs and outputs as the host shows them."""
        return io.Schema(
            node_id="SVDStudioSampler",
            display_name="SVD Sampler",
            category="SVD Studio",
            description="Samples clips on any MODEL of the SVD family, this pack's or ComfyUI's own. Several clips in "
            "a batch never see each other; the same seed gives the same clip as the command line.",
            inputs=_inputs(),
            outputs=[io.Latent.Output("latent_out", display_name="latent", tooltip="Finished latents of all clips.")],
        )

    @classmethod
    def validate_inputs(cls, solver: str | None, schedule: str | None) -> bool | str:
        """Say on the node what is no choice."""
        return verdict(
            lambda: listed("solver", solver, SOLVER_NAMES), lambda: listed("schedule", schedule, SCHEDULE_NAMES)
        )

    @classmethod
    def execute(
        cls,
        model: ModelPatcher,
        positive: Conditioning,
        negative: Conditioning,
        latent: Latent,
        seed: int,
        steps: int,
        cfg: float,
        solver: str,
        schedule: str,
    ) -> io.NodeOutput:
        from .sampling import Sampling, sample_clips

        chosen = Sampling(seed=seed, steps=steps, cfg=cfg, solver=solver, schedule=schedule)
        finished, notices = sample_clips(model, positive, negative, latent, chosen)
        return io.NodeOutput(finished, ui=ui.PreviewText("\n".join(notices)) if notices else None)


def _inputs() -> list[io.Input]:
    return [
        io.Model.Input("model", tooltip="Any SVD or SV3D model, with whatever LoRAs and patches are on it."),
        io.Conditioning.Input("positive", tooltip="The picture and its motion."),
        io.Conditioning.Input("negative", tooltip="The same without the picture: what guidance leads away from."),
        io.Latent.Input("latent", tooltip="Where sampling starts: empty latents say how many frames and how large."),
        io.Int.Input(
            "seed",
            default=0,
            min=0,
            max=MAX_SEED,
            control_after_generate=True,
            tooltip="Seed of the noise; clip i of a batch has seed + i, so each can be made again alone.",
        ),
        io.Int.Input(
            "steps",
            default=25,
            min=1,
            max=1000,
            tooltip="Sampling steps: time grows with them, quality hardly beyond 25 (10 with align_your_steps).",
        ),
        io.Float.Input(
            "cfg",
            default=2.5,
            min=0.0,
            max=100.0,
            step=0.1,
            tooltip="Guidance, without unit: pull towards the picture; 1 is none and twice as fast. Unused where SVD "
            "Guidance sets its own curve; the upper end of ComfyUI's Video CFG guidance nodes.",
        ),
        io.Combo.Input(
            "solver",
            options=list(SOLVER_NAMES),
            default="euler",
            tooltip="How a step is made: euler is the reference, heun takes two calls a step, dpmpp_2m converges in "
            "fewer steps, animatelcm is for AnimateLCM-SVD weights only.",
        ),
        io.Combo.Input(
            "schedule",
            options=list(SCHEDULE_NAMES),
            default="karras",
            tooltip="Noise levels of the steps: karras is the reference, align_your_steps was optimised for SVD at 10 "
            "steps, animatelcm belongs to the solver of that name.",
        ),
    ]
