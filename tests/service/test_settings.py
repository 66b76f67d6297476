"""Settings: from the environment, checked, named when they are wrong."""

from pathlib import Path

import pytest

from model.errors import ConfigError
from model.store import ModelStore
from service.registry import load_first
from service.settings import Settings, load_settings, misspelt_variables


def test_the_environment_is_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, value in {
        "HDRM_MODELS": "/srv/models",
        "HDRM_STEPS": "5",
        "HDRM_CACHE_TTL_SECONDS": "9",
        "HDRM_REDIS_URL": "",
        "PROMETHEUS_MULTIPROC_DIR": str(tmp_path),
    }.items():
        monkeypatch.setenv(name, value)
    settings = load_settings()
    assert settings.models == "/srv/models"
    assert settings.steps == 5
    assert settings.cache_ttl_seconds == 9
    assert settings.redis_url is None  # empty counts as not set
    assert settings.metrics_dir == tmp_path
    assert load_settings(models=Path("given")).models == Path("given")


def test_the_url_of_redis_may_be_in_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "url"
    file.write_text("redis://:swordfish@redis:6379/0\n")
    monkeypatch.setenv("HDRM_REDIS_URL_FILE", str(file))
    url = load_settings().redis_url
    assert url is not None
    assert url.get_secret_value() == "redis://:swordfish@redis:6379/0"
    assert load_settings(events="redis").events == "redis"


@pytest.mark.parametrize(
    ("content", "url", "expected"),
    [
        (None, "", "HDRM_REDIS_URL_FILE: cannot be read (No such file or directory)"),
        (b"", "", "HDRM_REDIS_URL: "),
        (b":swordfish@redis", "", "HDRM_REDIS_URL: "),
        (b"redis://swordfish:\xff@redis", "", "HDRM_REDIS_URL_FILE: not a text"),
        (b"redis://swordfish", "redis://redis", "HDRM_REDIS_URL_FILE takes the place of HDRM_REDIS_URL"),
    ],
)
def test_a_file_that_holds_no_url_is_named_without_its_content(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: bytes | None, url: str, expected: str
) -> None:
    if content is not None:
        (tmp_path / "url").write_bytes(content)
    monkeypatch.setenv("HDRM_REDIS_URL_FILE", str(tmp_path / "url"))
    monkeypatch.setenv("HDRM_REDIS_URL", url)
    with pytest.raises(ConfigError) as raised:
        load_settings()
    assert expected in raised.value.message
    assert "swordfish" not in raised.value.message
    assert raised.value.__context__ is None


def test_a_folder_for_metrics_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", "/nonexistent")
    with pytest.raises(ConfigError, match=r"PROMETHEUS_MULTIPROC_DIR: .*a folder that exists"):
        load_settings()


@pytest.mark.parametrize("name", ["HDRM_EVENT_TYPES", "HDRM_CORS_ORIGINS"])
def test_a_value_that_is_no_json_is_named_with_what_is_expected(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "{'swordfish': 1}")
    with pytest.raises(ConfigError) as caught:
        load_settings()
    assert caught.value.message.startswith(f"{name}: not valid JSON; ")
    assert "swordfish" not in caught.value.message


def test_variables_that_look_like_settings_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HDRM_STEP", "HDRM_REDIS_ULR", "HDRM_SERVICE_HOST", "HDRM_THREADS"):
        monkeypatch.setenv(name, "1")
    assert misspelt_variables() == {"HDRM_STEP": "HDRM_STEPS", "HDRM_REDIS_ULR": "HDRM_REDIS_URL"}


def test_every_setting_is_described() -> None:
    assert all(field.description for field in Settings.model_fields.values())


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("HDRM_STEPS", "-1", "greater than or equal to 0"),
        ("HDRM_STEPS", "three", "valid integer"),
        ("HDRM_THREADS", "0", "greater than or equal to 1"),
        ("HDRM_LOG_LEVEL", "loud", "'debug', 'info', 'warning' or 'error'"),
        ("HDRM_REDIS_TIMEOUT_SECONDS", "60", "less than or equal to 5"),
        ("HDRM_REDIS_URL", "http://:swordfish@host", "redis://, rediss:// or unix://"),
    ],
)
def test_a_wrong_value_is_named_with_what_is_allowed(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, expected: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError) as raised:
        load_settings()
    assert name in raised.value.message
    assert expected in raised.value.message
    assert "swordfish" not in raised.value.message
    assert raised.value.__context__ is None


def test_more_steps_than_the_model_has_are_refused(store: ModelStore) -> None:
    with pytest.raises(ConfigError, match="HDRM_STEPS: got 11, allowed: 0 to 10"):
        load_first(Settings(models=store.root, steps=11))
    assert load_first(Settings(models=store.root, steps=10)).loaded.steps == 10
    assert load_first(Settings(models=store.root)).loaded.steps == 3
