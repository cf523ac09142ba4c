"""The recipes in configs/: the installed diffusers has their options, and they make pictures with small models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from diantu.generation.strategies import ModelOptions, check_model, check_settings, load_strategies
from diantu.scripts.commands.generate import _settings, run

CONFIGS = Path(__file__).parents[2] / "configs"
RECIPES = sorted(path.name for path in CONFIGS.glob("generate-*.yaml"))


def options_of(recipe: str) -> dict[str, Any]:
    return yaml.safe_load((CONFIGS / recipe).read_text(encoding="utf-8"))


@pytest.fixture
def prompts(tmp_path: Path) -> Path:
    path = tmp_path / "prompts.txt"
    path.write_text("大熊猫\nan old hammer\n", encoding="utf-8")
    return path


def test_there_are_recipes() -> None:
    assert len(RECIPES) == 4


@pytest.mark.parametrize("recipe", RECIPES)
def test_options_fit_the_installed_diffusers(recipe: str) -> None:
    """Needs neither weights nor a hub, because the recipe names the class of the pipeline."""
    options = options_of(recipe)
    settings = _settings(options["set"])
    check_settings(settings)
    assert set(settings) <= set(options["strategy"])
    for strategy in options["strategy"]:
        if "model" in options:
            model = ModelOptions(
                name=options["model"], pipeline=options["pipeline"], variant=options.get("variant"),
                offload=options.get("offload", "none"),
            )  # fmt: skip
            assert check_model(model, strategy).startswith(options["pipeline"].removesuffix("Pipeline"))
            load_strategies([strategy], settings, model)


def made(recipe: str, demo: Path, prompts: Path, output: Path, **changes: Any) -> Path:
    options = options_of(recipe) | changes
    assert run(str(prompts), str(output), gallery=str(demo / "gallery"), **options) == 0
    assert len(list((output / "pictures").iterdir())) == 2
    return output


def test_sd_turbo(demo: Path, prompts: Path, tmp_path: Path, tiny_sd: Path) -> None:
    made("generate-sd-turbo.yaml", demo, prompts, tmp_path / "run", model=str(tiny_sd))


def test_sdxl_turbo_with_two_references(
    demo: Path, prompts: Path, tmp_path: Path, tiny_sdxl: Path, tiny_ip_adapter_sdxl: Path
) -> None:
    recipe = "generate-sdxl-turbo-ip-adapter.yaml"
    small = {
        "adapter": str(tiny_ip_adapter_sdxl), "subfolder": "models", "weight_names": "[tiny.safetensors]",
        "pixels": 4096,
    }  # fmt: skip
    kept = [given for given in options_of(recipe)["set"] if given.partition("=")[0].partition(".")[2] not in small]
    settings = [*kept, *(f"ip_adapter.{name}={value}" for name, value in small.items())]
    made(recipe, demo, prompts, tmp_path / "run", model=str(tiny_sdxl), variant=None, set=settings)


def test_flux2_klein(demo: Path, prompts: Path, tmp_path: Path) -> None:
    from tiny_editors import save_klein

    recipe = "generate-flux2-klein.yaml"
    settings = [*options_of(recipe)["set"], "edit.pixels=4096"]
    folder = save_klein(tmp_path / "klein")
    made(recipe, demo, prompts, tmp_path / "run", model=str(folder), offload="none", set=settings)


def test_the_offline_poster(demo: Path, prompts: Path, tmp_path: Path) -> None:
    made("generate-offline-poster.yaml", demo, prompts, tmp_path / "run")
