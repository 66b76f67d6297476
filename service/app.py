"""The application: settings in, what a server runs out. The model is loaded when it starts, off the event loop."""

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi_offline import FastAPIOffline
from starlette.types import ASGIApp, Receive, Scope, Send

from service.answers import Answers
from service.cache import create_cache
from service.engine import Engine
from service.errors import install_handlers
from service.events.choice import open_log
from service.events.recorder import Recorder
from service.front import Front
from service.live import Live, LiveHistories
from service.middleware import BodyLimit, RequestContext
from service.pace import measure_pace
from service.registry import Loaded, load_current
from service.routes import events, health, metrics, recommend
from service.settings import Settings, load_settings
from service.telemetry import Telemetry
from service.worker import Worker, limit_threads

__all__ = ["create_app"]

DESCRIPTION = """
Recommendations from a hyperbolic diffusion model.

Errors are `application/problem+json` documents (RFC 9457) on every route; `code` and `errors[].field` are for
programs. Every answer carries an `X-Request-ID`, the client's own if it sent one.
"""


@dataclass(frozen=True)
class Service:
    """What a server runs: FastAPI, behind what answers plain requests without it.

    Attributes:
        entrance: gets every request first.
        framework: gets those that are left.
    """

    entrance: ASGIApp
    framework: FastAPI

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.entrance(scope, receive, send)


def create_app(settings: Settings | None = None, loaded: Loaded | None = None) -> Service:
    """The service.

    Args:
        settings: None reads them from the environment.
        loaded: a model to serve; None loads the store's current one when the application starts, which then
            refuses to start with ArtifactError or ConfigError if that cannot be served.

    Raises:
        ConfigError: a setting in the environment is not valid.
    """
    settings = load_settings() if settings is None else settings
    telemetry = Telemetry(settings.metrics_dir)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            worker = Worker(threads=settings.threads)
            stack.push_async_callback(asyncio.to_thread, worker.close)
            cache = create_cache(settings, telemetry.count_lookup)
            stack.push_async_callback(cache.close)
            model = await worker.run(load_current, settings) if loaded is None else loaded
            log = open_log(settings)
            stack.push_async_callback(log.close)
            catalogue = model.artifact.catalogue
            histories = LiveHistories(catalogue, settings.event_types)
            live = Live(log, histories, timeout_seconds=settings.redis_timeout_seconds)
            stack.push_async_callback(live.close)
            await live.start()
            recorder = Recorder(
                log,
                settings.event_types,
                lambda item: catalogue.items.index(item) is not None,
                telemetry.count_events,
            )
            engine = Engine(model, histories)
            limit_threads(settings.threads)
            await worker.run(measure_pace, engine)
            pace = measure_pace(engine)  # again: what the event loop's own thread has to warm up is its own
            telemetry.serve_model(model.version, model.artifact.manifest.retrieval)
            app.state.answers = Answers(engine, live, recorder, cache, worker, telemetry, pace, settings)
            gc.collect()
            gc.freeze()  # the model and the modules stay, so that collections need not look at them
            yield
            app.state.answers = None
            gc.unfreeze()

    # a FastAPI whose /docs page brings its own script, so that it works without the internet
    app = FastAPIOffline(
        title="hdrm",
        version="1",
        description=DESCRIPTION,
        lifespan=lifespan,
        redirect_slashes=False,
        docs_url="/docs",
        redoc_url=None,
        static_url="/docs/assets",
    )
    app.state.answers = None
    app.state.telemetry = telemetry
    for module in (recommend, events, health, metrics):
        app.include_router(module.router)
    install_handlers(app)
    app.add_middleware(BodyLimit, max_bytes=settings.max_body_bytes)
    app.openapi = lambda: _openapi(app)  # type: ignore[method-assign]
    front = Front(app, state=app.state, max_bytes=settings.max_body_bytes)
    return Service(RequestContext(front, telemetry=telemetry), app)


def _openapi(app: FastAPI) -> dict[str, Any]:
    """FastAPI's document, with the media type that problems really have."""
    if app.openapi_schema is None:
        document = get_openapi(
            title=app.title, version=app.version, description=app.description, routes=app.routes, tags=app.openapi_tags
        )
        for path in document["paths"].values():
            for operation in path.values():
                for status, response in operation["responses"].items():
                    if int(status) >= 400 and "application/json" in response["content"]:
                        response["content"] = {"application/problem+json": response["content"]["application/json"]}
        app.openapi_schema = document
    return app.openapi_schema
