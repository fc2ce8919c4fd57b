"""The door to the host itself, on stand-ins for the host's modules: what it asks for, and what it does without them."""

from __future__ import annotations

import importlib
import logging
import sys
from collections.abc import Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch

from tests.fake_host import NAME, FakeHost, on_fake_host

# What the host has in a given version is asked of it here, and nowhere else in the pack.
MODULES = {
    "comfy": {},
    "comfy.clip_vision": {"Output": object},
    "comfy.cli_args": {
        "LatentPreviewMethod": SimpleNamespace(NoPreviews="none"),
        "args": SimpleNamespace(preview_method="none", preview_size=512, disable_metadata=False),
    },
    "comfy.conds": {},
    "comfy.latent_formats": {"LatentFormat": object, "SD15": object},
    "comfy.lora": {"load_lora": lambda tensors, targets: {}},
    "comfy.model_base": {"BaseModel": object, "ModelType": object, "SVD_img2vid": object},
    "comfy.model_management": {},
    "comfy.model_patcher": {"ModelPatcher": object},
    "comfy.ops": {"manual_cast": SimpleNamespace()},
    "comfy.patcher_extension": {"CallbacksMP": SimpleNamespace(ON_PRE_RUN="before", ON_CLEANUP="after")},
    "comfy.sample": {},
    "comfy.samplers": {},
    "comfy.sd": {"VAE": object},
    "comfy.supported_models": {"SVD_img2vid": object},
    "comfy.utils": {"ProgressBar": lambda total: SimpleNamespace(update_absolute=lambda *told: TOLD.append(told))},
    "comfy_api": {},
    "comfy_api.latest": {
        "ComfyExtension": object,
        "InputImpl": SimpleNamespace(),
        "Types": SimpleNamespace(),
        "io": FakeHost().io,
        "ui": FakeHost().ui,
    },
    "comfy_execution": {},
    "comfy_execution.graph_utils": {"ExecutionBlocker": object},
    "comfy_execution.progress": {
        "get_progress_state": lambda: SimpleNamespace(
            dynprompt=SimpleNamespace(get_display_node_id=lambda node: f"shown {node}")
        )
    },
    "comfy_execution.utils": {"get_executing_context": lambda: PLACE["now"]},
    "folder_paths": {},
}
TOLD: list[Any] = []
PLACE: dict[str, Any] = {"now": None}


@pytest.fixture
def door(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    for name, contents in MODULES.items():
        module = ModuleType(name)
        vars(module).update(contents)
        monkeypatch.setitem(sys.modules, name, module)
        parent, _, leaf = name.rpartition(".")
        if parent:
            setattr(sys.modules[parent], leaf, module)
    on_fake_host()
    monkeypatch.delitem(sys.modules, f"{NAME}.nodes.host")
    TOLD.clear()
    yield importlib.import_module(f"{NAME}.nodes.host")
    monkeypatch.undo()


def test_events_go_to_the_page_that_asked(door: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[Any] = []
    instance = SimpleNamespace(client_id="page", send_sync=lambda *told: sent.append(told))
    server = SimpleNamespace(PromptServer=SimpleNamespace(instance=instance))
    door.send_to_page("svd_studio.preview", {"step": 1})
    monkeypatch.setitem(sys.modules, "server", server)
    door.send_to_page("svd_studio.preview", {"step": 2})
    assert not sent, "without a server, or outside a graph, there is nobody to tell"
    monkeypatch.setitem(PLACE, "now", SimpleNamespace(node_id="7", prompt_id="p"))
    door.send_to_page("svd_studio.preview", {"step": 3})
    where = {"node": "7", "display_node": "shown 7", "prompt_id": "p"}
    assert sent == [("svd_studio.preview", {**where, "step": 3}, "page")]


def test_previews_follow_the_user_s_setting(door: Any) -> None:
    assert door.preview_size() is None
    door.args.preview_method = "auto"
    try:
        assert door.preview_size() == 512
        door.progress()(1, 4, "picture")
    finally:
        door.args.preview_method = "none"
    assert TOLD == [(1, 4, ("JPEG", "picture", 512))]


def test_colours_are_what_the_latents_say(door: Any) -> None:
    plain = SimpleNamespace(latent_rgb_factors=None, latent_rgb_factors_bias=None)
    ours = SimpleNamespace(latent_rgb_factors=[[1.0, 2.0, 3.0]], latent_rgb_factors_bias=[0.5, 0.5, 0.5])
    factors, bias = door.latent_colours(SimpleNamespace(model=SimpleNamespace(latent_format=ours)))
    assert torch.equal(factors, torch.tensor([[1.0, 2.0, 3.0]])) and torch.equal(bias, torch.full((3,), 0.5))
    assert door.latent_colours(SimpleNamespace(model=SimpleNamespace(latent_format=plain))) == (None, None)


def test_both_ends_of_a_run_are_asked_for(door: Any) -> None:
    added: list[Any] = []
    patcher = SimpleNamespace(add_callback=lambda *told: added.append(told))
    door.during_runs(patcher, "begin", "end")
    assert added == [("before", "begin"), ("after", "end")]


def test_only_warnings_are_kept_back(door: Any, caplog: pytest.LogCaptureFixture) -> None:
    with door.quietly():
        logging.warning("made for more")
        logging.error("broken")
    logging.warning("afterwards")
    assert [record.message for record in caplog.records] == ["broken", "afterwards"]
