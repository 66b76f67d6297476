"""Settings that were searched for once, kept beside this file."""

import tomllib
from importlib import resources

from benchmarks.baselines.baseline import Settings

__all__ = ["load_settings"]


def load_settings(name: str) -> Settings:
    """The settings of a baseline in settings.toml."""
    text = resources.files("benchmarks.baselines").joinpath("settings.toml").read_text("utf-8")
    settings: Settings = tomllib.loads(text)[name]
    return settings
