"""`hdrm serve`: check the model and the port, then run the HTTP service until a signal ends it."""

from __future__ import annotations

import os
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from hdrm.console import err
from model.errors import ConfigError, UnavailableError
from model.folder import is_url

if TYPE_CHECKING:
    from service.registry import First
    from service.settings import Settings

__all__ = ["check_address", "run_server", "serve"]

GRACE_SECONDS = 8
BACKLOG = 2048
POLL_SECONDS = 0.1
LOOPBACK_HINT = (
    "make a key with `hdrm keys create`, keep --host 127.0.0.1, or say --allow-unauthenticated if something in front "
    "controls access"
)

Announce = Callable[[str, str], None]


def serve(
    models: Annotated[
        str | None,
        typer.Option(
            "--models",
            help="Model store: what `hdrm train` published to, a folder or a URL such as s3://bucket/models.",
        ),
    ] = None,
    host: Annotated[str, typer.Option("--host", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="Port to listen on; 0 takes a free one.")
    ] = 8000,
    workers: Annotated[int, typer.Option("--workers", min=1, max=256, help="Processes that answer requests.")] = 1,
    allow_unauthenticated: Annotated[
        bool,
        typer.Option(
            "--allow-unauthenticated",
            help="Listen on an address that others can reach, even if requests need no key.",
        ),
    ] = False,
) -> None:
    """Serve recommendations over HTTP from the current model of a store.

    The model's checksums and its probe are verified first. The API is described at /docs. Ctrl-C or SIGTERM
    ends it after the requests that are being answered.

    Example: `hdrm serve --models models`
    """
    run_server(models, host, port, workers, allow_unauthenticated)


def run_server(
    models: Path | str | None,
    host: str = "127.0.0.1",
    port: int = 8000,
    workers: int = 1,
    allow_unauthenticated: bool = False,
    *,
    announce: Announce | None = None,
) -> None:
    """Serve until a signal; to be called from the main thread. Ends normally on SIGINT, with SystemExit(0) on SIGTERM.

    Args:
        models: model store; None takes the setting.
        host, port: where to listen; port 0 takes a free one.
        workers: processes.
        allow_unauthenticated: permit an address that is not loopback where no keys are in use.
        announce: called from a thread with the base URL and the model version once requests are answered; by
            default a line is printed on stderr.

    Raises:
        ConfigError: a setting is not valid, or the address is not loopback and no keys are in use.
        UnavailableError: the port is taken, the address is not ours, or a worker could not start.
        ArtifactError: the model is missing, damaged, or computes something else here.
    """
    from service.keys import KeyFile
    from service.registry import load_first
    from service.settings import load_settings, misspelt_variables

    signal.signal(signal.SIGTERM, _end)
    settings = load_settings() if models is None else load_settings(models=models)
    for name, meant in misspelt_variables().items():
        err.print(f"note: {name} is no setting; did you mean {meant}?", markup=False, highlight=False, soft_wrap=True)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if workers > 1 and workers * settings.threads > cores:
        err.print(
            f"note: {workers} workers of {settings.threads} threads are more than the {cores} cores", soft_wrap=True
        )
    guarded = KeyFile(settings.keys_path).in_use
    listener = _bind(host, port, allowed=guarded or allow_unauthenticated)
    with listener:
        firsts = [load_first(settings)]
        listener.listen(BACKLOG)
        with _announced(listener, firsts[0].loaded.version, announce or _print_ready):
            if workers == 1:
                _run_single(settings, firsts, listener)
            else:
                del firsts  # the workers load their own
                _run_several(settings, workers, listener)


def check_address(host: str, port: int, *, hint: str) -> None:
    """Fail now rather than after a training, if the address cannot be served on.

    Args:
        host, port: the address.
        hint: what to do if it is not loopback.

    Raises:
        ConfigError: the address is not loopback.
        UnavailableError: the port is taken, or the address is not ours.
    """
    _bind(host, port, allowed=False, hint=hint).close()


def _run_single(settings: Settings, firsts: list[First], listener: socket.socket) -> None:
    from uvicorn import Server

    from service.app import create_app

    server = Server(_uvicorn_config(create_app(settings, firsts.pop), settings))
    try:
        server.run(sockets=[listener])
    except KeyboardInterrupt:
        return
    if not server.started:
        raise UnavailableError("the service did not start; its log above has the cause")


def _run_several(settings: Settings, workers: int, listener: socket.socket) -> None:
    from hdrm.supervisor import Supervisor

    with tempfile.TemporaryDirectory(prefix="hdrm-metrics-") as metrics:
        # the workers are fresh processes that read their settings from the environment they inherit
        models = settings.models
        os.environ["HDRM_MODELS"] = str(models if is_url(models) else Path(models).resolve())
        if settings.keys_file is not None:
            os.environ["HDRM_KEYS_FILE"] = str(settings.keys_file.resolve())
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = metrics
        config = _uvicorn_config("hdrm.supervisor:create_worker_app", settings, factory=True, workers=workers)
        supervisor = Supervisor(config, sockets=[listener])
        supervisor.run()
    if any(process.exitcode not in (0, -signal.SIGTERM, -signal.SIGINT) for process in supervisor.processes):
        raise UnavailableError("a worker process could not start or did not end well; the log above has the cause")


def _uvicorn_config(app: Any, settings: Settings, **more: Any) -> Any:
    from uvicorn import Config

    from service.logs import log_config
    from service.protocol import BoundedHttp

    return Config(
        app,
        http=BoundedHttp,
        log_config=log_config(settings.log_level),
        access_log=False,
        server_header=False,
        proxy_headers=False,
        ws="none",
        lifespan="on",
        timeout_graceful_shutdown=GRACE_SECONDS,
        **more,
    )


def _bind(host: str, port: int, *, allowed: bool, hint: str = LOOPBACK_HINT) -> socket.socket:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:  # UnicodeError: an empty or overlong label
        reason = error.strerror if isinstance(error, OSError) else "not a host name"
        raise UnavailableError(f"--host {host}: not an address ({reason})", hint="try --host 127.0.0.1") from error
    family, kind, protocol, _, address = found[0]
    if not ip_address(address[0]).is_loopback and not allowed:
        raise ConfigError(
            f"--host {host}: refusing to listen where others can reach it, because requests need no key",
            hint=hint,
        )
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        listener.close()
        raise UnavailableError(
            f"cannot listen on {host}:{port}: {error.strerror}",
            hint="end the program that uses the port, or choose another one: --port 0 takes any that is free",
        ) from error
    return listener


@contextmanager
def _announced(listener: socket.socket, version: str, announce: Announce) -> Iterator[None]:
    """While the body runs, watch from a thread for the service to be ready, and say so once."""
    ended = threading.Event()
    host, port = listener.getsockname()[:2]
    reachable = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    url = f"http://[{reachable}]:{port}" if ":" in reachable else f"http://{reachable}:{port}"

    def watch() -> None:
        while not ended.wait(POLL_SECONDS):
            if _ready(reachable, port):
                announce(url, version)
                return

    thread = threading.Thread(target=watch, name="hdrm-announce", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _ready(host: str, port: int) -> bool:
    connection = HTTPConnection(host, port, timeout=1)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


def _print_ready(url: str, version: str) -> None:
    err.print(
        f"serving model {escape(version)} at {url}  (API: {url}/docs, Ctrl-C ends it)", soft_wrap=True, highlight=False
    )


def _end(signum: int, frame: object) -> None:
    """SIGTERM ends the program with status 0; uvicorn raises it again once it has finished its requests."""
    sys.exit(0)
