"""`svd bench model`: the table an embedded model is judged by, each row on pictures and seeds drawn anew.

Every reading of every clip is a line of a file, so the bench goes on where it was stopped, grows with `--clips`, and
prints all that the file knows, whichever rows were asked for this time.
"""

from __future__ import annotations

import argparse
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..camera.lora import CameraLora
from ..errors import InputError, choose_from, explain
from ..operations import TORCH
from ..training.fast_layers import FAST_LAYERS
from ..training.scores_between import NOT_MADE, between_row, digest, interpolator_of, measure_between
from ..training.scores_measures import camera_measures, clip_measures
from ..training.scores_record import Record
from ..training.scores_rows import Row, clips_of, filled
from ..training.scores_sampling import Sampling, Shot, Tell, bucket_shots, camera_shots, take
from ..training.scores_sets import SETS, available
from ..training.scores_time import KIND as TIME
from ..training.scores_time import measure_time, time_row
from ..video_io import atomic_file
from ..weights.build import SvdModel, load_model, model_path
from ..weights.camera_files import SHIPPED
from ..weights.fingerprint import base_fingerprint, latent_fingerprint, same_base
from ..weights.lora import load_camera_lora
from ..weights.lora_tags import read_tags
from ..weights.reader import read_header
from ..weights.video_engine import EMBEDDED_INTERPOLATOR
from .models import resolve_device, resolve_dtype
from .options import whole
from .output import Console, show

LINES_NAME = "model.jsonl"
ROWS = ("clips", "camera", "interpolation", "time")
_UNASKED = ("clips", "interpolation", "time")
_SEEDS = 2**31


@dataclass(frozen=True, slots=True, kw_only=True)
class Belongings:
    """What goes with a model: its camera LoRAs by preset, None for one made for another model, and its interpolator."""

    cameras: Mapping[str, CameraLora | None]
    interpolator: Path


def run(options: argparse.Namespace) -> int:
    """Measure what is missing, print the table; exit code 1 when a measured row misses its floor.

    Raises:
        InputError: a row, set or seed that makes no sense, or a folder with another model's record.
    """
    console = Console.of(options)
    rows, seed = _chosen("--rows", options.rows, ROWS, _UNASKED), _seed(options.seed)
    asked = _chosen("--sets", options.sets, tuple(SETS), ())
    device = resolve_device(options.device)
    dtype = resolve_dtype(None, device)
    layers = FAST_LAYERS if device.type == "cpu" else TORCH
    model = load_model(options.model, dtype=dtype, device=device, operations=layers)
    sets = asked or available(model.config.sampling.width)
    belongings = Belongings(
        cameras=_cameras(options.lora, model), interpolator=options.interpolator or EMBEDDED_INTERPOLATOR
    )
    identity = identity_of(options.model, model)
    record = Record.opened(options.out / LINES_NAME, identity, seed, lambda: secrets.randbelow(_SEEDS))
    console.say(f"Seed {record.seed}: --seed {record.seed} repeats this in another --out.\n")
    job = _Job(model=model, belongings=belongings, record=record, sets=sets, options=options)
    for name in rows:
        with console.progress(1, name) as bar:

            def tell(done: int, total: int) -> None:
                show(bar, done, total)

            job.measure(name, tell)
    table = rows_of(model, record, belongings, sets)
    text = markdown(table, sets)
    with atomic_file(options.out / "model.md") as temporary:
        temporary.write_text(f"{identity}, seed {record.seed}\n\n{text}", encoding="utf-8")
    console.say(text)
    facts = {"seed": record.seed, "model": identity, "sets": list(sets), "rows": [row.to_json() for row in table]}
    console.result(facts)
    return 1 if any(row.verdict == "not met" for row in table) else 0


def rows_of(model: SvdModel, record: Record, belongings: Belongings, sets: Sequence[str]) -> list[Row]:
    """The whole table from a record; rows it knows nothing of say how to get them."""
    sampling = model.config.sampling
    clips = clips_of(record.lines)
    table = [filled(measure, clips, sets, "--rows clips") for measure in clip_measures(sampling)]
    for preset, lora in belongings.cameras.items():
        if lora is None:
            table.append(Row(name=f"{preset}: camera LoRA", value=None, beside=NOT_MADE))
        else:
            table += [filled(measure, clips, sets, "--rows camera") for measure in camera_measures(lora, sampling)]
    if not belongings.cameras:
        table.append(Row(name="camera LoRAs", value=None, beside="there is none"))
    file = belongings.interpolator
    lacking = "--rows interpolation" if interpolator_of(file, model) else NOT_MADE
    return [*table, between_row(record.lines, file, lacking), time_row(record.lines, "--rows time")]


def markdown(rows: Sequence[Row], sets: Sequence[str]) -> str:
    """The table as Markdown."""
    lines: list[tuple[str, ...]] = [("measure", "value", "+-", "clips", "floor", "goal", "verdict", *sets, "beside")]
    lines.append(("---",) * len(lines[0]))
    for row in rows:
        bounds = ("-" if bound is None else str(bound) for bound in (row.floor, row.goal))
        own = (row.shown(row.sets.get(name)) for name in sets)
        known = (row.shown(row.value), row.shown(row.error), f"{row.clips or '-'}")
        lines.append((row.name, *known, *bounds, row.verdict, *own, row.beside))
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    """Groups of rows by name; each measures what the record lacks."""

    model: SvdModel
    belongings: Belongings
    record: Record
    sets: Sequence[str]
    options: argparse.Namespace

    def measure(self, group: str, tell: Tell) -> None:
        sampling = self.model.config.sampling
        if group == "clips":
            self._take(bucket_shots(sampling), tell)
        elif group == "camera":
            loras = [lora for lora in self.belongings.cameras.values() if lora is not None]
            plain = [shot for shot in bucket_shots(sampling) if shot.full]
            self._take([*plain, *camera_shots(loras, sampling)] if loras else [], tell)
        elif group == "interpolation":
            file = self.belongings.interpolator
            between = interpolator_of(file, self.model)
            if between is not None:
                measure_between(between, file, self.options.clips, self.record, tell)
        elif not any(line["kind"] == TIME for line in self.record.lines):
            # As a user's model is loaded, with the layers everyone has.
            device = next(self.model.unet.parameters()).device
            measure_time(load_model(self.options.model, dtype=resolve_dtype(None, device), device=device), self.record)

    def _take(self, shots: Sequence[Shot], tell: Tell) -> None:
        if shots:
            each = -(-self.options.clips // len(self.sets))
            sheets = self.options.out / "sheets" if self.options.sheet else None
            take(self.model, Sampling(sets=self.sets, clips=each, shots=shots, sheets=sheets), self.record, tell)


def _chosen(option: str, text: str | None, known: Sequence[str], unasked: Sequence[str]) -> tuple[str, ...]:
    """A comma-separated list of known words; None is what is done unasked."""
    if text is None:
        return tuple(unasked)
    words = [part.strip() for part in text.split(",") if part.strip()]
    if words == ["all"]:
        return tuple(known)
    for word in words:
        if word not in known:
            raise InputError(choose_from(option, word, ["all", *known]))
    if not words:
        raise InputError(choose_from(option, text, ["all", *known]))
    return tuple(word for word in known if word in words)


def _seed(text: str | None) -> int | None:
    """None where the record decides, or chance."""
    if text is None or text == "random":
        return None
    return whole("--seed", 0, _SEEDS - 1)(text)


def _cameras(files: Sequence[Path] | None, model: SvdModel) -> dict[str, CameraLora | None]:
    """The named LoRAs, or those that ship; by their tags, none is read that is another model's."""
    base = base_fingerprint(model.unet)
    found: dict[str, CameraLora | None] = {}
    for file in files or sorted(SHIPPED.glob("*.safetensors")):
        tags = read_tags(read_header(file).metadata)
        if tags is None or tags.preset is None:
            raise InputError(explain("camera LoRAs tagged for a preset", f"{file}", "Name other files with --lora."))
        if tags.preset in found:
            named = f"a second one, {file}"
            raise InputError(explain(f"one camera LoRA for {tags.preset}", named, "Give it another --out, alone."))
        found[tags.preset] = load_camera_lora(file, config=model.config.unet) if same_base(tags.base, base) else None
    return found


def identity_of(source: str, model: SvdModel) -> str:
    """Name and content of a model file; of a folder, the fingerprints of its networks."""
    path = model_path(source)
    if path.is_file():
        return f"{path.name} {digest(path)}"
    return f"{path.name} {base_fingerprint(model.unet)} {latent_fingerprint(model)}"
