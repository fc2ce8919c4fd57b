"""Our LoRA files in the host's own LoRA loader: every layer is found, with nothing lost and nothing renamed."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

from svd_core import save_camera_lora
from svd_core.camera.lora import CameraLora, LowRank
from svd_core.config import SVD_XT
from svd_core.weights.unet_rows import unet_rows
from tests.hosting import find_host
from tests.loras import random_pairs, svd_xt_attention

# The host's key map needs a model's tensor names only; unet_to_diffusers reads the config the host detects.
SCRIPT = """
import json, sys, types
sys.path.insert(0, sys.argv[1])
sys.argv = sys.argv[:1] + sys.argv[2:]
import comfy.cli_args
comfy.cli_args.args.cpu = True
import comfy.lora, comfy.utils
names, path, out = json.load(open(sys.argv[1])), sys.argv[2], sys.argv[3]
model = types.SimpleNamespace(
    state_dict=lambda: dict.fromkeys(names), model_config=types.SimpleNamespace(unet_config={})
)
tensors = comfy.utils.load_torch_file(path, safe_load=True)
patches = comfy.lora.load_lora(tensors, comfy.lora.model_lora_keys_unet(model, {}), log_missing=False)
scales = {key: (1.0 if p.weights[2] is None else p.weights[2] / p.weights[1].shape[0]) for key, p in patches.items()}
used = set().union(*(patch.loaded_keys for patch in patches.values()))
json.dump({"scales": scales, "unused": sorted(set(tensors) - used)}, open(out, "w"))
"""


def test_the_host_finds_every_layer(tmp_path: Path) -> None:
    host = find_host()
    targets = svd_xt_attention()
    deltas = {name: LowRank(down, up, 0.25) for name, (down, up) in random_pairs(targets, 2).items()}
    temporal = {name for name in deltas if ".time_stack." in name}
    save_camera_lora(CameraLora.of("pan", deltas), tmp_path / "pan.safetensors")

    names = [f"diffusion_model.{row.name}" for row in unet_rows(SVD_XT.unet)]
    (tmp_path / "names.json").write_text(json.dumps(names))
    (tmp_path / "script.py").write_text(SCRIPT)
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    paths = [tmp_path / "names.json", tmp_path / "pan.safetensors", tmp_path / "out.json"]
    command = [host.python, tmp_path / "script.py", host.root, *paths]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads((tmp_path / "out.json").read_text())
    assert found["scales"] == {f"diffusion_model.{name}.weight": 0.25 for name in deltas}
    assert len(deltas) == 256 and len(temporal) == 128
    assert not [name for name in found["unused"] if not name.endswith(".alpha")]
