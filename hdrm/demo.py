"""`hdrm demo`: from nothing to a running service."""

from pathlib import Path
from typing import Annotated

import typer

from hdrm.console import err, out
from hdrm.data import Source, fetch
from hdrm.store import open_store
from hdrm.train import comparison_of, run_training

__all__ = ["demo"]

USER = "196"


def demo(
    data: Annotated[Path, typer.Option(help="Where the data set is kept.")] = Path("demo/data/ml-100k"),
    models: Annotated[Path, typer.Option(help="Folder of the model store.")] = Path("demo/models"),
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on.")] = 8000,
    serve: Annotated[bool, typer.Option(help="Serve when the model is ready; --no-serve only prepares it.")] = True,
) -> None:
    """Fetch MovieLens 100K, train a model and serve it; what is there already is kept.

    Needs no Docker and no Redis. The first run trains for two to four minutes on two cores, later ones take seconds.

    Example: hdrm demo --port 8080
    """
    if serve:
        from hdrm.serve import check_address

        check_address(host, port, hint="keep --host 127.0.0.1; the demo is for this machine, see `hdrm serve --help`")
    store = open_store(models)
    if store.current() is None:
        prepare(data, models)
    else:
        version = store.manifest().version  # one that cannot be read is an error that says what to do
        err.print(f"model {version} is in {models} already", markup=False, highlight=False, soft_wrap=True)
    if serve:
        from hdrm.serve import run_server

        run_server(models, host, port, announce=print_requests)


def prepare(data: Path, models: Path) -> None:
    """Fetch the data unless it is there, train, and print how good the model is."""
    fetch(Source.ML_100K, data)
    result = run_training(data, models, preset="default", seed=0, changes=[], resume=True)
    out.print(comparison_of(result.manifest))


def print_requests(url: str, version: str) -> None:
    """What to try now, ready to be pasted."""
    out.print(f"\nserving {version}; try (in another terminal):\n", highlight=False, soft_wrap=True)
    for body in (f'{{"user_id": "{USER}", "k": 10}}', '{"user_id": "someone new", "k": 5}'):
        line = f"curl -s {url}/recommend -H 'content-type: application/json' -d '{body}'"
        out.print(line, highlight=False, markup=False, soft_wrap=True)
    out.print(f"\nall routes: {url}/docs    stop: Ctrl-C", highlight=False, soft_wrap=True)
