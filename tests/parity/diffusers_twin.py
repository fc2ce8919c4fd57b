"""diffusers' pipeline over a model of ours: the weights carried over by the key tables, every tensor once."""

from __future__ import annotations

import diffusers
import transformers
from torch import Tensor, nn

from svd_core.weights.keymaps import Place, Rule, decoder_rules, encoder_rules, image_encoder_rules, unet_rules
from tests.models import Networks


def exported(network: nn.Module, rules: tuple[Rule, ...]) -> dict[str, Tensor]:
    """Our tensors under the names of the rules' sources; every one of ours must be used once."""
    ours, theirs = network.state_dict(), {}
    for rule in rules:
        (target,), (source,) = rule.targets, rule.sources
        tensor = ours.pop(target)
        assert rule.transform in ("same", "unsqueeze")
        theirs[source] = tensor if rule.transform == "same" else tensor[..., 0, 0]
    assert not ours, sorted(ours)
    return theirs


def diffusers_pipeline(model: Networks) -> diffusers.StableVideoDiffusionPipeline:
    """diffusers' pipeline over the same weights, its UNet norms set to the original's eps of 1e-5."""
    parts = {"unet": _unet(model), "vae": _vae(model), "image_encoder": _image_encoder(model)}
    sampling = model.config.sampling
    scheduler = svd_scheduler(sampling.sigma_min, sampling.sigma_max)
    extractor = transformers.CLIPImageProcessor()
    for part in parts.values():
        part.eval()
    pipeline = diffusers.StableVideoDiffusionPipeline(**parts, scheduler=scheduler, feature_extractor=extractor)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def set_original_eps(unet: nn.Module) -> int:
    """diffusers builds 72 of SVD's 88 res block norms with eps 1e-6 where the original has 1e-5; returns how many."""
    wrong = [
        module
        for name, module in unet.named_modules()
        if isinstance(module, nn.GroupNorm) and "_res_block.norm" in name and module.eps == 1e-6
    ]
    for module in wrong:
        module.eps = 1e-5
    return len(wrong)


def svd_scheduler(sigma_min: float, sigma_max: float) -> diffusers.EulerDiscreteScheduler:
    """The scheduler of the published SVD folders."""
    return diffusers.EulerDiscreteScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type="v_prediction",
        use_karras_sigmas=True,
        sigma_min=sigma_min,
        sigma_max=sigma_max,
        timestep_spacing="leading",
        timestep_type="continuous",
        steps_offset=1,
    )


def _unet(model: Networks) -> nn.Module:
    config = model.config.unet
    theirs = diffusers.UNetSpatioTemporalConditionModel(
        in_channels=config.in_channels,
        out_channels=config.out_channels,
        block_out_channels=config.channels,
        layers_per_block=config.res_blocks,
        addition_time_embed_dim=config.vector[0].width,
        projection_class_embeddings_input_dim=config.vector_dim,
        cross_attention_dim=config.context_dim,
        num_attention_heads=tuple(width // config.head_channels for width in config.channels),
        num_frames=model.config.sampling.frames,
    )
    assert set_original_eps(theirs) == 72
    theirs.load_state_dict(exported(model.unet, unet_rules(Place("", "diffusers"), config)))
    return theirs


def _vae(model: Networks) -> nn.Module:
    config = model.config.autoencoder
    theirs = diffusers.AutoencoderKLTemporalDecoder(
        block_out_channels=config.channels,
        layers_per_block=config.res_blocks,
        latent_channels=config.latent_channels,
        down_block_types=("DownEncoderBlock2D",) * len(config.channels),
        scaling_factor=config.scale_factor,
    )
    place = Place("", "diffusers")
    theirs.load_state_dict(exported(model.autoencoder, encoder_rules(place, config) + decoder_rules(place, config)))
    return theirs


def _image_encoder(model: Networks) -> nn.Module:
    config = model.config.image_encoder
    theirs = transformers.CLIPVisionModelWithProjection(
        transformers.CLIPVisionConfig(
            hidden_size=config.width,
            intermediate_size=config.mlp_width,
            projection_dim=config.projection,
            num_hidden_layers=config.layers,
            num_attention_heads=config.heads,
            image_size=config.image_size,
            patch_size=config.patch_size,
            hidden_act="gelu",
        )
    )
    tensors = exported(model.image_encoder, image_encoder_rules(Place("", "transformers"), config))
    left = theirs.load_state_dict(tensors, strict=False)
    assert not left.unexpected_keys and all("position_ids" in name for name in left.missing_keys), left
    return theirs
