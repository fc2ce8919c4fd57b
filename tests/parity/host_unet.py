"""Runs inside the host's own Python: its UNet on given weights and inputs. Never imported by our tests."""

from __future__ import annotations

import json
import sys

import torch
from safetensors.torch import load_file, save_file


def main(host: str, folder: str) -> None:
    sys.path.insert(0, host)
    sys.argv = [sys.argv[0], "--cpu", "--force-fp32"]
    from comfy.cli_args import args

    args.cpu = True
    import comfy.ops
    from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel

    torch.set_num_threads(1)
    with open(f"{folder}/config.json", encoding="utf-8") as file:
        config = json.load(file)
    frames = config.pop("frames")
    network = UNetModel(**config, dtype=torch.float32, operations=comfy.ops.disable_weight_init)
    network.load_state_dict(load_file(f"{folder}/weights.safetensors"))
    given = load_file(f"{folder}/inputs.safetensors")
    with torch.no_grad():
        out = network.eval()(
            given["x"], given["timesteps"], context=given["context"], y=given["vector"], num_video_frames=frames
        )
    save_file({"out": out.contiguous()}, f"{folder}/outputs.safetensors")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
