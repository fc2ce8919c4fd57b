"""From a file to a model: networks built without memory, then given the file's own mapped tensors."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from ..autoencoder.autoencoder import Autoencoder
from ..config import ModelConfig
from ..errors import InputError, UnsupportedModelError, damaged_weights, explain
from ..image_encoder.image_encoder import ImageEncoder
from ..operations import TORCH, Operations
from ..unet.unet import VideoUNet
from .companions import complete
from .detect import Detection, EncoderChoice, detect
from .encoders import encoder_difference
from .inspection import refusal
from .keymaps import Part, Rule
from .mapped import MappedFiles, apply_transform, torch_dtype
from .report import LoadReport, account
from .source import Checkpoint, open_checkpoint

EMBEDDED = "nano"
_ASSETS = Path(__file__).parent.parent / "assets"
_COMPUTABLE = (torch.float64, torch.float32, torch.float16, torch.bfloat16)
# Checking every weight would page a 5 GB file in, so larger models get their small tensors checked only.
_CHECK_ALL_BYTES = 256_000_000
_SMALL = 16_384


@dataclass(frozen=True, slots=True, kw_only=True)
class SvdModel:
    """Three networks ready to run (evaluation mode, no gradients), their config, and how they were loaded."""

    unet: VideoUNet
    autoencoder: Autoencoder
    image_encoder: ImageEncoder
    config: ModelConfig
    report: LoadReport


def load_model(
    source: str | Path,
    *,
    dtype: torch.dtype | None = None,
    device: torch.device | str = "cpu",
    operations: Operations | None = None,
    companions: str | Path | Sequence[str | Path] = (),
    encoder: EncoderChoice = "conditioner",
) -> SvdModel:
    """Load a model of the SVD family from a safetensors file, a diffusers folder, or "nano", the embedded one.

    All but small weights stay views of the memory-mapped file until something moves or casts them: nothing
    is copied, and a page is read when it is first used. Models above 256 MB therefore get only their small
    tensors checked for NaN and infinity here; `check_finite` checks all.

    Args:
        source: file, folder, or "nano".
        dtype: cast to this, tensor by tensor; None keeps what most of each network is stored in. The blend
            factors keep their stored precision: a rounded logit is worse than a rounded share.
        device: where the weights end up.
        operations: layer namespace, `torch.nn` by default.
        companions: files or folders to take the autoencoder and the image encoder from, for a UNet-only file.
        encoder: which image encoder to use where the file holds two.

    Raises:
        InputError: no such file, a UNet-only file without a companion, or a dtype or device that cannot be used.
        FileFormatError: a damaged or unsafe file.
        UnsupportedModelError: a healthy file of another family, named in the text.
        WeightsMismatchError: tensors missing, misshapen or unknown.
        DamagedWeightsError: NaN or infinite weights.
    """
    _check_target(dtype, device)
    half = dtype in (torch.float16, torch.bfloat16)
    checkpoint, detection = _identify(model_path(source), half, encoder)
    paths = (companions,) if isinstance(companions, (str, Path)) else companions
    others = tuple(open_checkpoint(Path(path), half=half) for path in paths)
    checkpoint, detection = complete(checkpoint, detection, others, encoder)
    report, rules = account(checkpoint, detection)
    report.check()
    with MappedFiles() as files:
        weights: dict[Part, Mapping[str, Tensor]] = {
            part: _weights(checkpoint, table, files, dtype, device) for part, table in rules.items()
        }
        report = _with_encoder_note(report, checkpoint, detection, files)
    model = _build(detection, operations or TORCH, weights, report)
    _check_loaded(model)
    return model


def check_finite(model: SvdModel) -> None:
    """Look at every weight, reading the whole file if it has not been read.

    Raises:
        DamagedWeightsError: a weight is NaN or infinite; the text names its tensor.
    """
    for name, tensor in _parameters(model):
        _require_finite(name, tensor, model.report.source)


def _check_target(dtype: torch.dtype | None, device: torch.device | str) -> None:
    if dtype is not None and dtype not in _COMPUTABLE:
        raise InputError(explain("a floating point dtype to compute in", str(dtype), "Use float16 or float32."))
    try:
        torch.empty(0, device=device)
    except (AssertionError, RuntimeError) as error:
        found = f"{device}: {str(error).splitlines()[0]}"
        raise InputError(explain("a device PyTorch can use here", found, 'Use "cpu".')) from error


def model_path(source: str | Path) -> Path:
    """The path of a source that `load_model` takes.

    Raises:
        InputError: the embedded model is asked for and not there.
    """
    if str(source) != EMBEDDED:
        return Path(source)
    path = _ASSETS / f"{EMBEDDED}.safetensors"
    if not path.is_file():
        remedy = "Install the package again, or name a checkpoint of your own."
        raise InputError(explain("the embedded model in this installation", f"no file {path}", remedy))
    return path


def _identify(path: Path, half: bool, encoder: EncoderChoice) -> tuple[Checkpoint, Detection]:
    checkpoint = open_checkpoint(path, half=half)
    detection = detect(checkpoint, encoder=encoder)
    if detection.kind != "model":
        raise UnsupportedModelError(refusal(checkpoint, detection))
    return checkpoint, detection


def _weights(
    checkpoint: Checkpoint,
    rules: Sequence[Rule],
    files: MappedFiles,
    dtype: torch.dtype | None,
    device: torch.device | str,
) -> dict[str, Tensor]:
    """One network's tensors by its own names."""
    target = dtype or _stored_dtype(checkpoint, rules)
    weights: dict[str, Tensor] = {}
    for rule in rules:
        sources = [files.tensor(checkpoint.tensors[name]) for name in rule.sources]
        tensors = apply_transform(rule.transform, sources, len(rule.targets))
        for name, tensor in zip(rule.targets, tensors, strict=True):
            keep = name.endswith("mix_factor") and tensor.dtype in _COMPUTABLE
            weights[name] = tensor.to(device, tensor.dtype if keep else target)
    return weights


def _stored_dtype(checkpoint: Checkpoint, rules: Sequence[Rule]) -> torch.dtype:
    """What most bytes of a network are stored in; a few tensors of another dtype then follow it."""
    sizes: Counter[torch.dtype] = Counter()
    for rule in rules:
        for name in rule.sources:
            info = checkpoint.tensors[name]
            sizes[torch_dtype(info)] += info.nbytes
    dtype = sizes.most_common(1)[0][0]
    if dtype not in _COMPUTABLE:
        remedy = "Say which dtype to compute in, for example float16."
        raise InputError(explain("weights in float16, bfloat16 or float32", str(dtype), remedy))
    return dtype


def _build(
    detection: Detection, operations: Operations, weights: Mapping[Part, Mapping[str, Tensor]], report: LoadReport
) -> SvdModel:
    config = detection.config
    if config is None:
        raise ValueError("only a recognised model can be built")
    unet = VideoUNet(config.unet, operations=operations, device="meta")
    autoencoder = Autoencoder(config.autoencoder, operations=operations, device="meta")
    image_encoder = ImageEncoder(config.image_encoder, operations=operations, device="meta")
    networks: tuple[tuple[Part, nn.Module], ...] = (
        ("unet", unet),
        ("autoencoder", autoencoder),
        ("image_encoder", image_encoder),
    )
    for part, network in networks:
        network.load_state_dict(dict(weights[part]), strict=True, assign=True)
        network.requires_grad_(False).eval()
    return SvdModel(unet=unet, autoencoder=autoencoder, image_encoder=image_encoder, config=config, report=report)


def _with_encoder_note(
    report: LoadReport, checkpoint: Checkpoint, detection: Detection, files: MappedFiles
) -> LoadReport:
    """Say how far the encoder not chosen is from the one used, where a file holds two."""
    used, other, config = detection.places.encoder, detection.alternative, detection.config
    # Our own files hold one encoder twice, the second with its quant_conv folded in: nothing to choose between.
    if used is None or other is None or config is None or detection.layout == "svd_studio":
        return report

    def read(name: str) -> Tensor | None:
        info = checkpoint.tensors.get(name)
        return None if info is None else files.tensor(info)

    autoencoder = dataclasses.replace(config.autoencoder, quant_conv=True)
    difference = encoder_difference(read, used, other, autoencoder)
    extent = "cannot be compared" if difference is None else f"differs by {difference:.1e} of its largest weight"
    note = f"two image encoders: {used.prefix} is used; the first and last layer of {other.prefix} {extent}"
    return dataclasses.replace(report, notes=(*report.notes, note))


def _parameters(model: SvdModel) -> list[tuple[str, Tensor]]:
    networks = {"unet": model.unet, "autoencoder": model.autoencoder, "image_encoder": model.image_encoder}
    return [
        (f"{part}.{name}", parameter)
        for part, network in networks.items()
        for name, parameter in network.named_parameters()
    ]


def _check_loaded(model: SvdModel) -> None:
    parameters = _parameters(model)
    whole = sum(tensor.nbytes for _, tensor in parameters) <= _CHECK_ALL_BYTES
    for name, tensor in parameters:
        if whole or tensor.numel() <= _SMALL:
            _require_finite(name, tensor, model.report.source)


def _require_finite(name: str, tensor: Tensor, source: str) -> None:
    # The extremes are NaN or infinite if any value is, and cost no memory.
    low, high = torch.aminmax(tensor.detach())
    if not bool(torch.isfinite(low) & torch.isfinite(high)):
        raise damaged_weights(source, name)
