"""Settings of strategies are always checked."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from drafts import draft, load

from diantu.datasets import InputError
from diantu.generation.strategies import STRATEGIES, ModelOptions, check_settings, load_strategies, settings_type


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"img2im": {}}, "strategy 'img2im' is not known; give one of: text2img, img2img"),
        ({"img2img": {"strenght": 0.5}}, "'img2img' has no setting 'strenght'; it has: steps"),
        ({"img2img": {"strength": 0}}, "strength is 0; give a number from 0.01 to 1"),
        ({"img2img": {"strength": "0.5"}}, "strength is '0.5'"),
        ({"img2img": {"strength": float("nan")}}, "strength is nan"),
        ({"img2img": {"steps": 2.5}}, "steps is 2.5; give a whole number"),
        ({"img2img": {"steps": True}}, "steps is True"),
        ({"img2img": {"fit": "stretch"}}, "fit is 'stretch'; give one of: crop, pad"),
        ({"img2img": 3}, "settings of 'img2img' are 3"),
        ({"ip_adapter": {"scales": [0.5, 0.5]}}, "2 scales for 1 weight_names"),
        ({"ip_adapter": {"scales": ["much"]}}, "scales is"),
        ({"ip_adapter": {"weight_names": "ip-adapter_sd15.bin"}}, "give files of safetensors"),
        ({"inpaint": {"keep": "both"}}, "keep is 'both'; give one of: subject, background"),
        ({"inpaint": {"width": 512}}, "'inpaint' has no setting 'width'"),
    ],
)
def test_the_message_about_wrong_settings_is_one_sentence(settings: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError) as caught:
        check_settings(settings)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_yaml_lists_become_tuples() -> None:
    settings = settings_type("ip_adapter")(weight_names=["a.safetensors", "b.safetensors"], scales=0.5)
    assert settings.weight_names == ("a.safetensors", "b.safetensors")
    assert settings.scales == (0.5, 0.5)


def test_settings_of_single_images_are_checked(tiny_sd) -> None:
    strategy = load("img2img", tiny_sd, strength=0.5)
    strategy.check(draft(settings={"img2img": {"strength": 1}, "text2img": {"steps": 3}}))
    for wrong, says in ({"strength": 2}, "strength is 2"), ({"strengths": 1}, "has no setting 'strengths'"):
        with pytest.raises(InputError, match=says):
            strategy.check(draft(settings={"img2img": wrong}))


def test_names_of_strategies() -> None:
    with pytest.raises(InputError, match="strategy 'magic' is not known"):
        load_strategies(["magic"], {}, ModelOptions())
    with pytest.raises(InputError, match="give a list of"):
        load_strategies([], {}, ModelOptions())
    with pytest.raises(InputError, match="no model is given"):
        load_strategies(["img2img"], {}, ModelOptions())


def test_settings_do_not_import_torch() -> None:
    names = list(STRATEGIES)
    code = (
        "import sys; from diantu.generation.strategies import settings_type\n"
        f"for name in {names!r}: settings_type(name)()\n"
        "assert not {'torch', 'diffusers', 'transformers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
