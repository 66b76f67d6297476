"""The application: settings in, what a server runs out. The model is loaded when it starts, off the event loop,
and follows the store's current one."""

import asyncio
import gc
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi_offline import FastAPIOffline
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from model.store import ModelStore
from service.cache import create_cache
from service.errors import install_handlers
from service.events.choice import open_log
from service.front import Front
from service.guard import Guard, scope_needed
from service.keys import KeyFile
from service.middleware import BodyLimit, RequestContext
from service.models import Models
from service.paths import EncodedIds
from service.rates import Rates
from service.registry import First, load_first
from service.roster import Roster
from service.routes import events, health, items, metrics, models, recommend, users
from service.settings import Settings, load_settings
from service.starter import Starter
from service.telemetry import Telemetry
from service.tracing import Tracing
from service.watcher import Watcher
from service.worker import Worker, limit_threads

__all__ = ["create_app"]

DESCRIPTION = """
Recommendations from a hyperbolic diffusion model.

Errors are `application/problem+json` documents (RFC 9457) on every route; `code` and `errors[].field` are for
programs. Every answer carries an `X-Request-ID`, the client's own if it sent one.
"""


# of requests from the pages of other origins, where those are allowed
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
HEADERS = ("authorization", "content-type", "x-api-key", "x-request-id")
EXPOSED = ("retry-after", "server-timing", "x-request-id")


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


def create_app(settings: Settings | None = None, load: Callable[[], First] | None = None) -> Service:
    """The service.

    Args:
        settings: None reads them from the environment.
        load: gives the model to start with, once; None loads the store's current one when the application starts,
            which then refuses to start with ArtifactError or ConfigError if that cannot be served.

    Raises:
        ConfigError: a setting in the environment is not valid.
    """
    settings = load_settings() if settings is None else settings
    telemetry = Telemetry(settings.metrics_dir)
    tracing = None if settings.otlp_endpoint is None else Tracing(settings.otlp_endpoint)
    url = settings.redis_url
    rates = Rates(None if url is None else url.get_secret_value(), timeout_seconds=settings.redis_timeout_seconds)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            if tracing is not None:
                stack.push_async_callback(asyncio.to_thread, tracing.close)
            stack.push_async_callback(rates.close)
            worker = Worker(threads=settings.threads)
            stack.push_async_callback(asyncio.to_thread, worker.close)
            cache = create_cache(settings, telemetry.count_lookup)
            stack.push_async_callback(cache.close)
            first = await asyncio.to_thread(load_first, settings) if load is None else load()
            log = open_log(settings)
            stack.push_async_callback(log.close)
            store = ModelStore(settings.models, settings.models_cache)
            app.state.models = Models(store)
            starter = Starter(settings, log, cache, worker, telemetry)
            refused, serving = first.refused, await starter.start(first.loaded, replaces=False)
            del first  # nothing else must keep a model that has been replaced
            roster = Roster(serving, telemetry, max_together=settings.max_pending)
            stack.push_async_callback(roster.close)
            manifest = serving.manifest
            telemetry.serve_model(serving.version, manifest.retrieval, manifest.run.created_at)
            telemetry.refuse_model(refused=refused is not None)
            del serving
            limit_threads(settings.threads)
            app.state.roster = roster
            if settings.model_version is None:
                watcher = Watcher(store, roster, starter, settings, telemetry, refused=refused)
                following = asyncio.create_task(watcher.run())
                stack.callback(following.cancel)
            gc.collect()
            gc.freeze()  # the modules stay, so that collections need not look at them
            yield
            app.state.roster = None
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
    app.state.roster = None
    app.state.telemetry = telemetry
    modules = (recommend, events, items, users, models, health, metrics)
    for module in modules:
        app.include_router(module.router)
    app.state.routes = [
        route
        for routes in (app.router.routes, *(module.router.routes for module in modules))
        for route in routes
        if isinstance(route, Route)
    ]
    install_handlers(app)
    app.add_middleware(BodyLimit, max_bytes=settings.max_body_bytes)
    app.openapi = lambda: _openapi(app, list(settings.event_types))  # type: ignore[method-assign]
    front = Front(app, state=app.state, max_bytes=settings.max_body_bytes)
    guard: ASGIApp = Guard(front, KeyFile(settings.keys_path), rates, settings.rate_limit, settings.cors_origins)
    if settings.cors_origins:
        guard = CORSMiddleware(guard, settings.cors_origins, METHODS, HEADERS, expose_headers=EXPOSED)
    return Service(RequestContext(EncodedIds(guard), telemetry, tracing), app)


def _openapi(app: FastAPI, event_types: list[str]) -> dict[str, Any]:
    """FastAPI's document, with what it does not know: the media type of problems, who needs which key, event types."""
    if app.openapi_schema is None:
        document = get_openapi(
            title=app.title, version=app.version, description=app.description, routes=app.routes, tags=app.openapi_tags
        )
        document["components"]["schemas"]["EventRequest"]["properties"]["type"]["enum"] = event_types
        document["components"]["securitySchemes"] = {
            "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
            "bearer": {"type": "http", "scheme": "bearer"},
        }
        for path, operations in document["paths"].items():
            for method, operation in operations.items():
                for status, response in operation["responses"].items():
                    if int(status) >= 400 and "application/json" in response["content"]:
                        response["content"] = {"application/problem+json": response["content"]["application/json"]}
                scope = scope_needed(method.upper(), path)
                if scope is not None:
                    # without any of them too, where no keys are in use
                    operation["security"] = [{"key": []}, {"bearer": []}, {}]
                    operation["description"] += f"\n\nWhere keys are in use: one with the scope `{scope}`."
        app.openapi_schema = document
    return app.openapi_schema
