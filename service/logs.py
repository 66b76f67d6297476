"""Logging: one JSON object a line on stderr, so that nothing a client sends can start a line of its own."""

import logging
from typing import Any

import structlog
from structlog.typing import EventDict

__all__ = ["formatter", "log_config"]


def formatter() -> logging.Formatter:
    """Makes a line of JSON, ASCII only, of a record; the mapping in its `fields` attribute is added to it."""
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[
            structlog.stdlib.add_log_level,
            structlog.stdlib.add_logger_name,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
            _add_fields,
        ],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,
            structlog.processors.EventRenamer("message"),
            structlog.processors.JSONRenderer(),
        ],
    )


def log_config(level: str) -> dict[str, Any]:
    """A configuration for logging.config.dictConfig: this service's and uvicorn's messages on stderr."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"json": {"()": "service.logs.formatter"}},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "json"}},
        "root": {"level": "WARNING", "handlers": ["stderr"]},
        "loggers": {name: {"level": level.upper()} for name in ("hdrm", "uvicorn")},
    }


def _add_fields(logger: Any, name: str, event: EventDict) -> EventDict:
    event.update(getattr(event["_record"], "fields", {}))
    return event
