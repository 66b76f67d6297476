"""Settings of the service, from HDRM_* environment variables: the only file that reads the environment."""

import difflib
import os
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError
from redis.asyncio import ConnectionPool

from model.errors import ConfigError
from model.folder import workspace_of
from service.events.event import EFFECTS, Effect
from service.keys import parse_rate

__all__ = ["PREFIX", "Settings", "load_settings", "misspelt_variables"]

PREFIX = "HDRM_"


class Settings(BaseSettings):
    """Everything about the service that can be set; an empty variable counts as not set."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_ignore_empty=True, frozen=True, extra="forbid", hide_input_in_errors=True
    )

    models: Path | str = Field(
        "models",
        description="model store: the folder that published models are in, or a URL such as s3://bucket/models",
    )
    models_cache: Path | None = Field(
        None,
        description="of a store that is a URL: the folder of this machine for copies of its models; not set takes one "
        "below ~/.cache",
    )
    model_version: str | None = Field(
        None,
        description="version of the model to serve; not set takes the store's current one, and whichever becomes "
        "current later",
    )
    steps: Annotated[int, Field(ge=0, le=1000)] | None = Field(
        None,
        description="reverse diffusion steps of each request; not set takes the model's own, 0 leaves the "
        'diffusion out and marks every answer as degraded: ["diffusion"]',
    )
    redis_url: SecretStr | None = Field(
        None,
        description="Redis for the answer cache and for events: redis://, rediss:// or unix://; not set keeps "
        "answers in the process alone, and events in a file. It may hold a password and is never logged",
    )
    redis_url_file: Path | None = Field(
        None,
        description="a file that holds the URL of Redis, such as a mounted secret, in the place of HDRM_REDIS_URL; "
        "read once, at the start",
    )
    redis_timeout_seconds: float = Field(
        0.1, ge=0.005, le=5, description="longest time one round trip to Redis may take, connecting and DNS included"
    )
    cache_ttl_seconds: int = Field(
        300, ge=1, le=2_592_000, description="how long an answer is kept; up to a tenth less, at random"
    )
    cache_max_bytes: int = Field(
        64 * 2**20,
        ge=0,
        le=2**40,
        description="bound of the cache in each process, which stands before Redis; 0 turns it off",
    )
    events: Literal["redis", "sqlite", "off"] | None = Field(
        None,
        description="where events are kept: redis, which has to have an append-only file and may not evict them; "
        "sqlite, a file, for the workers of one machine; or off. Not set takes Redis if there is one, and the file "
        "otherwise",
    )
    events_file: Path | None = Field(
        None, description="the file of HDRM_EVENTS=sqlite; not set takes events.sqlite in the model store"
    )
    event_types: dict[str, Effect] = Field(
        EFFECTS,
        min_length=1,
        description="types of events and what each does to its user's history: add, dislike or remove; as JSON",
    )
    threads: int = Field(1, ge=1, le=256, description="threads of FAISS and NumPy in each worker process")
    max_pending: int = Field(
        1024, ge=1, le=1_000_000, description="requests that may wait for inference in a worker; beyond them 503"
    )
    max_batch: int = Field(64, ge=1, le=4096, description="requests that are answered together at most")
    deadline_seconds: float = Field(
        5.0, ge=0.01, le=600, description="longest time a request may wait for inference; beyond it 503"
    )
    max_body_bytes: int = Field(2**20, ge=1024, le=2**30, description="longest request body accepted; beyond it 413")
    keys_file: Path | None = Field(
        None,
        description="the file of API keys, as `hdrm keys` writes it; not set takes keys.json in the model store. Where "
        "it is there, requests need a key",
    )
    rate_limit: str | None = Field(
        None,
        description="how many requests a key may make that has no rate of its own, such as 100/second; not set for any "
        "number. Counted in Redis for all replicas, if there is one, otherwise by each process",
    )
    cors_origins: list[str] = Field(
        [], description='origins whose pages may call the service from a browser, as JSON: ["https://shop.example"]'
    )
    otlp_endpoint: str | None = Field(
        None,
        validation_alias="OTEL_EXPORTER_OTLP_ENDPOINT",
        description="where OpenTelemetry traces are sent, over HTTP, such as http://collector:4318; not set sends none",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="least severe messages logged; debug adds the probes' requests"
    )
    metrics_dir: Path | None = Field(
        None,
        validation_alias="PROMETHEUS_MULTIPROC_DIR",
        description="where worker processes share their metrics; `hdrm serve` sets it when there are several",
    )

    @model_validator(mode="before")
    @classmethod
    def _url_of_file(cls, given: dict[str, Any]) -> dict[str, Any]:
        file = given.get("redis_url_file")
        if file is None:
            return given
        if given.get("redis_url") is not None:
            raise ValueError("HDRM_REDIS_URL_FILE takes the place of HDRM_REDIS_URL; got both")
        try:
            url = Path(file).read_text("utf-8").strip()
        except OSError as error:
            raise ValueError(f"HDRM_REDIS_URL_FILE: cannot be read ({error.strerror})") from None
        except UnicodeDecodeError:
            raise ValueError("HDRM_REDIS_URL_FILE: not a text") from None
        return {**given, "redis_url": url}

    @field_validator("redis_url")
    @classmethod
    def _usable_url(cls, value: SecretStr | None) -> SecretStr | None:
        if value is None:
            return None
        if not value.get_secret_value().startswith(("redis://", "rediss://", "unix://")):
            raise ValueError("expected a URL that starts with redis://, rediss:// or unix://")
        try:  # opens no connection
            ConnectionPool.from_url(value.get_secret_value()).make_connection()  # type: ignore[no-untyped-call]
        except (TypeError, ValueError):
            usable = False  # the error may quote the URL, so it must not become this one's context
        else:
            usable = True
        if not usable:
            raise ValueError("not a valid Redis URL; expected one such as redis://redis:6379/0")
        return value

    @model_validator(mode="after")
    def _redis_for_events(self) -> Self:
        if self.events == "redis" and self.redis_url is None:
            raise ValueError("HDRM_EVENTS=redis needs HDRM_REDIS_URL or HDRM_REDIS_URL_FILE")
        return self

    @field_validator("rate_limit")
    @classmethod
    def _usable_rate(cls, value: str | None) -> str | None:
        if value is not None:
            try:
                parse_rate(value)
            except ConfigError as error:
                raise ValueError(error.message) from None
        return value

    @property
    def keys_path(self) -> Path:
        """Where the keys are, if there are any."""
        return self.models_folder / "keys.json" if self.keys_file is None else self.keys_file

    @property
    def models_folder(self) -> Path:
        """The folder of this machine that belongs to the model store."""
        return workspace_of(self.models, self.models_cache)

    @field_validator("metrics_dir")
    @classmethod
    def _is_a_folder(cls, value: Path | None) -> Path | None:
        if value is not None and not value.is_dir():
            raise ValueError("expected a folder that exists")
        return value


def misspelt_variables() -> dict[str, str]:
    """Variables of the environment that name no setting but look like one, and the setting each looks like.

    Others, such as those that Kubernetes sets for a service called hdrm, mean something else.
    """
    known = [PREFIX + name.upper() for name in Settings.model_fields]
    unknown = [name for name in os.environ if name.startswith(PREFIX) and name not in known]
    close = {name: difflib.get_close_matches(name, known, n=1, cutoff=0.85) for name in unknown}
    return {name: matches[0] for name, matches in close.items() if matches}


def load_settings(**given: Any) -> Settings:
    """Settings from the environment; values given here come before it.

    Raises:
        ConfigError: a variable is out of its range; each is named with what is allowed, never with its value.
    """
    try:
        return Settings(**given)
    except ValidationError as error:
        problems = [f"{_variables(e['loc'])}: {e['msg']}" for e in error.errors(include_input=False, include_url=False)]
    except SettingsError as error:  # tells the name of the field alone
        names = [name for name in Settings.model_fields if f'"{name}"' in str(error)]
        problems = [
            f"{_variables((name,))}: not valid JSON; {Settings.model_fields[name].description}" for name in names
        ]
    raise ConfigError("\n".join(problems), hint="set the variable to an allowed value, or unset it")


def _variables(location: tuple[int | str, ...]) -> str:
    name = str(location[0]) if location else "environment"  # rules about several name them
    return PREFIX + name.upper() if name in Settings.model_fields else name
