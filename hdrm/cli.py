"""The Typer application: commands are thin, import what they need when they run, and raise HdrmError."""

import sys

import typer
from rich.markup import escape

from hdrm.batch import batch
from hdrm.benchmark import app as benchmark_app
from hdrm.console import err
from hdrm.data import app as data_app
from hdrm.demo import demo
from hdrm.keys import app as keys_app
from hdrm.models import app as models_app
from hdrm.openapi import openapi
from hdrm.recommend import recommend
from hdrm.report import report as write_report
from hdrm.retrain import retrain
from hdrm.serve import serve
from hdrm.train import train
from hdrm.tune import tune
from model.errors import HdrmError, UnavailableError

__all__ = ["app", "main"]

app = typer.Typer(
    name="hdrm",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    help="Hyperbolic diffusion recommendations: fetch or import data, train, publish, serve.",
)
app.add_typer(data_app, name="data")
app.command()(demo)
app.command()(train)
app.command()(tune)
app.command()(retrain)
app.add_typer(models_app, name="models")
app.command("report")(write_report)
app.command()(serve)
app.command()(recommend)
app.command()(batch)
app.add_typer(keys_app, name="keys")
app.command()(openapi)
app.add_typer(benchmark_app, name="benchmark")


def main() -> None:
    """Run the program; an expected failure is one message on stderr, its next step, and exit status 1."""
    try:
        app()
    except HdrmError as error:
        report(error)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in EXTRA_OF:
            raise
        name = error.name.partition(".")[0]
        report(
            UnavailableError(
                f"this command needs the Python package {name!r}, which is not installed",
                hint=f"pip install 'hdrm[{EXTRA_OF[name]}]'",
            )
        )


EXTRA_OF = {
    "apscheduler": "train",
    "fastapi": "serve",
    "fastapi_offline": "serve",
    "geoopt": "train",
    "httpx": "client",
    "implicit": "bench",
    "limits": "serve",
    "opentelemetry": "serve",
    "optuna": "bench",
    "matplotlib": "train",
    "orjson": "serve",
    "polars": "train",
    "prometheus_client": "serve",
    "pydantic_settings": "serve",
    "redis": "serve",
    "scipy": "train",
    "structlog": "serve",
    "torch": "train",
    "uvicorn": "serve",
}


def report(error: HdrmError) -> None:
    err.print(f"[bold red]error:[/] {escape(error.message)}", soft_wrap=True, highlight=False)
    if error.hint:
        err.print(f"[bold]next:[/] {escape(error.hint)}", soft_wrap=True, highlight=False)
    sys.exit(1)
