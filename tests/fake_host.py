"""The pack with a stand-in for its one door to the host: nodes run in milliseconds, without ComfyUI."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import torch

ROOT = Path(__file__).resolve().parents[1]
NAME = "svd_studio_on_a_fake_host"


class FakeHost(ModuleType):
    """`nodes.host` with what the rooms use; any other class is an empty one."""

    def __init__(self) -> None:
        super().__init__(f"{NAME}.nodes.host")
        self.io = _Io()
        self.ui = SimpleNamespace(
            PreviewText=lambda text: SimpleNamespace(text=text),
            SavedResult=lambda name, subfolder, kind: SimpleNamespace(name=name, subfolder=subfolder),
            PreviewVideo=lambda results: SimpleNamespace(results=results),
            SavedImages=lambda results, is_animated: SimpleNamespace(results=results),
        )
        self.loaded: list[int] = []
        self.management = SimpleNamespace(
            load_models_gpu=lambda patchers, memory_required: self.loaded.append(memory_required)
        )
        self.folder_paths = SimpleNamespace(
            folder_names_and_paths={},
            get_filename_list=lambda _: [],
            get_folder_paths=lambda _: [],
            get_output_directory=lambda: "",
            get_user_directory=lambda: "",
        )
        self.cancelled = False
        self.metadata = True
        self.steps: list[int] = []
        self.sent: list[dict[str, Any]] = []
        self.previews = False

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {}) if name[0].isupper() else SimpleNamespace()

    def check_interrupt(self) -> None:
        if self.cancelled:
            raise KeyboardInterrupt

    def metadata_allowed(self) -> bool:
        return self.metadata

    def video(self, images: torch.Tensor, fps: object) -> Any:
        return SimpleNamespace(images=images, fps=fps)

    def work_report(self) -> Any:
        return lambda done, total: self.check_interrupt()

    def progress(self) -> Any:
        return lambda done, total, picture: self.steps.append(done)

    def preview_size(self) -> int | None:
        return 512 if self.previews else None

    def latent_colours(self, model: object) -> Any:
        return None, None

    def send_to_page(self, event: str, data: dict[str, Any]) -> None:
        self.sent.append({"event": event, **data})

    def masked_denoiser(self, guider: Any, *_: object) -> Any:
        return guider.denoise

    def guided_sampling(
        self, model: Any, positive: Any, negative: Any, cfg: float, sampler: Any, sigmas: Any, noise: Any, *rest: Any
    ) -> torch.Tensor:
        """A network that is linear in x and knows its clip's conditioning."""
        ((tokens, values),) = positive
        assert tokens.shape[0] == 1 and values["concat_latent_image"].shape[0] == 1, "not one clip's conditioning"
        offset = values["concat_latent_image"].mean() + cfg
        guider = SimpleNamespace(
            denoise=lambda x, sigma: 0.5 * x / (1 + sigma.view(-1, 1, 1, 1)) + offset,
            inner_model=SimpleNamespace(
                model_sampling=SimpleNamespace(noise_scaling=lambda s, n, start, most: n * (1 + s**2).sqrt() + start)
            ),
        )
        start = torch.zeros_like(noise)
        return sampler.sample(guider, sigmas, {}, None, noise, start)


class _Io:
    """Schemas as plain records."""

    def __init__(self) -> None:
        self.ComfyNode = type(
            "ComfyNode", (), {"hidden": SimpleNamespace(prompt=None, extra_pnginfo=None, unique_id=None)}
        )
        self.Custom = lambda kind: getattr(self, kind)
        self.Schema = lambda **entries: SimpleNamespace(**{"hidden": [], "is_output_node": False} | entries)
        self.NodeOutput = lambda *result, ui=None: SimpleNamespace(result=result, ui=ui)
        self.Hidden = self.FolderType = SimpleNamespace(
            prompt="prompt", extra_pnginfo="extra", unique_id="id", output="output"
        )

    def __getattr__(self, name: str) -> Any:
        def record(id: str, **entries: Any) -> Any:
            return SimpleNamespace(id=id, kind=name, **entries)

        return SimpleNamespace(Input=record, Output=record)


def on_fake_host() -> tuple[FakeHost, Any]:
    """The fake, and a function that imports a module of the pack upon it, such as `nodes.sampling`."""
    for name in [name for name in sys.modules if name == NAME or name.startswith(NAME + ".")]:
        del sys.modules[name]
    spec = importlib.util.spec_from_file_location(NAME, ROOT / "__init__.py", submodule_search_locations=[str(ROOT)])
    assert spec is not None and spec.loader is not None
    pack = sys.modules[NAME] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(pack)
    host = sys.modules[f"{NAME}.nodes.host"] = FakeHost()
    return host, lambda name: importlib.import_module(f"{NAME}.{name}")
