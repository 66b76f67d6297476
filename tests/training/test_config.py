from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.config import Frozen, ModelConfig
from model.errors import ConfigError
from training.config import TrainConfig, load_config, preset_names


def sections(config: Frozen) -> list[Frozen]:
    nested = [value for name in type(config).model_fields if isinstance(value := getattr(config, name), Frozen)]
    return [config, *(inner for section in nested for inner in sections(section))]


@pytest.mark.parametrize("preset", preset_names())
def test_presets_load_and_survive_a_round_trip(preset: str) -> None:
    config = load_config(preset)
    assert TrainConfig.model_validate_json(config.model_dump_json()) == config
    assert ModelConfig.model_validate_json(config.model_part().model_dump_json()) == config.model_part()


def test_every_setting_says_what_it_is() -> None:
    for section in sections(load_config("default")):
        for name, field in type(section).model_fields.items():
            assert field.description or isinstance(getattr(section, name), Frozen), f"{type(section).__name__}.{name}"


@given(st.integers(2, 1024), st.floats(0.5, 1e6))
def test_changes_arrive(dim: int, half_life: float) -> None:
    config = load_config("default", [f"encoder.dim={dim}", f"history.half_lives=[{half_life!r}]", "noise.radial=false"])
    assert config.encoder.dim == dim
    assert config.history.half_lives == (half_life,)
    assert config.noise.radial is False


def test_bare_words_are_strings_and_top_level_keys_work() -> None:
    config = load_config("default", ["split.by=time", "noise.kind=isotropic", "steps=1"])
    assert (config.split.by, config.noise.kind, config.steps) == ("time", "isotropic", 1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("encoder.dim", "expected section.key=value"),
        ("encoder.size=3", "no 'size' here; there are: dim, layers"),
        ("encodr.dim=3", "no 'encodr' here; there are: encoder, history"),
        ("encoder=3", "'encoder' is a section; its keys are: dim"),
        ("steps.many=3", "'steps' has no keys"),
        ("encoder.dim=1", r"encoder\.dim: .*greater than or equal to 2.*got 1"),
        ("encoder.dim=3.5", r"encoder\.dim: .*integer"),
        ("noise.radial=False", r"noise\.radial: .*boolean"),
        ("split.by=week", "split.by: .*'user' or 'time'"),
    ],
)
def test_a_wrong_change_is_refused_by_name(change: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_config("default", [change])


def test_an_unknown_preset_is_refused_with_those_there_are() -> None:
    with pytest.raises(ConfigError, match="got 'best', there are: default"):
        load_config("best")


@pytest.mark.parametrize("preset", ["best", "best/of.all"])
def test_the_refusal_of_a_preset_names_both_ways_to_give_one(preset: str) -> None:
    with pytest.raises(ConfigError, match=r"there are: default.*; or give the path of a file that ends in \.toml"):
        load_config(preset)


def test_a_file_is_a_preset_like_any_other(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("steps = 2\n[encoder]\ndim = 16\n", encoding="utf-8")
    config = load_config(str(path), ["encoder.layers=1"])
    assert (config.steps, config.encoder.dim, config.encoder.layers) == (2, 16, 1)
    assert config.diffusion_fit == TrainConfig().diffusion_fit


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"mine\.toml: cannot be read: No such file"),
        (b"steps = \n", r"mine\.toml: not a TOML file: .*line 1"),
        (b"\xff", r"mine\.toml: not a TOML file"),
        (b"stepz = 1", r"mine\.toml: stepz: .*not permitted"),
        (b"encoder = 3", r"mine\.toml: encoder: .*got 3"),
        (b"[unordered]\n'steps.many' = 3", r"mine\.toml, unordered steps\.many: 'steps' has no keys"),
    ],
)
def test_a_file_that_is_no_preset_is_refused_by_name(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "mine.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=message):
        load_config(str(path), ["encoder.dim=16"])


def test_settings_cannot_be_changed_afterwards() -> None:
    config = load_config("default")
    with pytest.raises(Exception, match="frozen"):
        config.encoder.dim = 3  # type: ignore[misc]


def test_settings_for_unordered_data_take_the_place_of_others_unless_they_are_asked_for() -> None:
    config = load_config("default")
    assert config.resolved(ordered=True).encoder == config.encoder
    unordered = config.resolved(ordered=False)
    assert unordered.encoder.dim == config.unordered["encoder.dim"] != config.encoder.dim
    assert unordered.history.half_lives == ("uniform",)
    assert unordered.order == "ignored"
    assert unordered.unordered == {}
    asked = load_config("default", ["encoder.dim=32"])
    assert asked.resolved(ordered=False).encoder.dim == asked.resolved(ordered=True).encoder.dim == 32


def test_ignoring_the_order_is_like_having_none() -> None:
    config = load_config("default", ["order=ignored"])
    assert config.resolved(ordered=True) == config.resolved(ordered=False)
