"""Logging: one JSON object a line on stderr, so that nothing a client sends can start a line of its own."""

import json
import logging
from datetime import UTC, datetime
from typing import Any

__all__ = ["JsonLines", "log_config"]


class JsonLines(logging.Formatter):
    """Formats a record as one line of JSON; the mapping in its `fields` attribute is added to it."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, ASCII only."""
        entry: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry, default=str)


def log_config(level: str) -> dict[str, Any]:
    """A configuration for logging.config.dictConfig: this service's and uvicorn's messages on stderr."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"json": {"()": "service.logs.JsonLines"}},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "json"}},
        "root": {"level": "WARNING", "handlers": ["stderr"]},
        "loggers": {name: {"level": level.upper()} for name in ("hdrm", "uvicorn")},
    }
