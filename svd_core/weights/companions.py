"""Completing a UNet-only file with the autoencoder and image encoder of another file or folder.

The companion's tensors join the table under a prefix of their own, so loading knows one checkpoint only.
"""

from __future__ import annotations

import dataclasses

from ..config import AutoencoderConfig, ImageEncoderConfig
from ..errors import InputError, explain
from .detect import Detection, EncoderChoice, find_places
from .keymaps import Piece, Place, Places, owns
from .sizes import Shapes, autoencoder_config, image_encoder_config
from .source import CONFIG_KEY, Checkpoint
from .stored_config import stored_config


def complete(
    checkpoint: Checkpoint, detection: Detection, companions: tuple[Checkpoint, ...], encoder: EncoderChoice
) -> tuple[Checkpoint, Detection]:
    """Take what the model lacks from the first companion that has it.

    Raises:
        InputError: something is still lacking; the text says what, and where it can come from.
    """
    for index, companion in enumerate(companions):
        checkpoint, detection = _take(checkpoint, detection, companion, f"companion/{index}/", encoder)
    places = detection.places
    lacking = [
        name
        for name, there in (
            ("the autoencoder", places.encoder and places.decoder),
            ("the image encoder", places.image_encoder),
        )
        if not there
    ]
    if lacking:
        raise InputError(
            explain(
                f"a whole model in {checkpoint.path.name}",
                f"no {' and no '.join(name.removeprefix('the ') for name in lacking)}",
                f"Give as a companion a full SVD checkpoint or diffusers folder to take {' and '.join(lacking)} from.",
            )
        )
    return checkpoint, detection


def _take(
    checkpoint: Checkpoint, detection: Detection, companion: Checkpoint, prefix: str, encoder: EncoderChoice
) -> tuple[Checkpoint, Detection]:
    if detection.config is None:
        raise ValueError("only a recognised model can be completed")
    theirs, _ = find_places(companion, encoder)
    places, config = detection.places, detection.config
    notes, taken = list(detection.notes), dict[Piece, Place]()
    if not (places.encoder and places.decoder) and theirs.encoder and theirs.decoder:
        # An encoder and a decoder of different autoencoders need not share a latent space: take both.
        places = dataclasses.replace(
            places, encoder=_moved(theirs.encoder, prefix), decoder=_moved(theirs.decoder, prefix)
        )
        autoencoder = _autoencoder(companion, theirs, notes)
        config = dataclasses.replace(config, autoencoder=autoencoder)
        taken |= {"encoder": theirs.encoder, "decoder": theirs.decoder}
    if not places.image_encoder and theirs.image_encoder:
        places = dataclasses.replace(places, image_encoder=_moved(theirs.image_encoder, prefix))
        config = dataclasses.replace(config, image_encoder=_image_encoder(companion, theirs.image_encoder, notes))
        taken["image_encoder"] = theirs.image_encoder
    if not taken:
        return checkpoint, detection
    notes.append(f"autoencoder or image encoder from {companion.path}")
    tensors = {
        prefix + name: info
        for name, info in companion.tensors.items()
        if any(owns(piece, place, name) for piece, place in taken.items())
    }
    merged = dataclasses.replace(checkpoint, tensors={**checkpoint.tensors, **tensors})
    return merged, dataclasses.replace(detection, places=places, config=config, notes=tuple(notes))


def _moved(place: Place, prefix: str) -> Place:
    return Place(prefix + place.prefix, place.naming)


def _autoencoder(companion: Checkpoint, places: Places, notes: list[str]) -> AutoencoderConfig:
    if CONFIG_KEY in companion.metadata:
        return stored_config(companion).autoencoder
    encoder = Shapes(companion, places.encoder) if places.encoder else None
    decoder = Shapes(companion, places.decoder) if places.decoder else None
    return autoencoder_config(encoder, decoder, companion.configs.get("vae", {}), notes)


def _image_encoder(companion: Checkpoint, place: Place, notes: list[str]) -> ImageEncoderConfig:
    if CONFIG_KEY in companion.metadata:
        return stored_config(companion).image_encoder
    return image_encoder_config(Shapes(companion, place), companion.configs.get("image_encoder", {}), notes)
