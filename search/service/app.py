"""The application: routes, errors, limits, and the page."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from importlib.metadata import version

from fastapi import FastAPI
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware

from ...indexing.encoders import ImageEncoder
from . import documentation, problems
from .batching import SharedEncoders
from .context import Context
from .guard import Guard
from .metrics import Metrics
from .pool import Pool
from .routes import compatible, embeddings, export, galleries, health, page, rows, search, session
from .served import Galleries
from .settings import Settings

log = logging.getLogger(__name__)

_ROUTES = (search, rows, galleries, embeddings, export, session, health, compatible)


def create_app(settings: Settings, encoders: Mapping[str, ImageEncoder] | None = None) -> FastAPI:
    """The application of a service.

    Args:
        settings: what is served, and the limits.
        encoders: encoders that are loaded already, by the names of galleries.

    Raises:
        InputError: if a gallery cannot be opened.
    """
    metrics = Metrics()
    pool = Pool(settings.threads, settings.queue, settings.deadline)
    metrics.watch(lambda: pool.num_waiting, lambda: pool.num_running)
    shared = SharedEncoders(lambda: pool.num_running, metrics.batch.observe)
    context = Context(
        settings=settings,
        galleries=Galleries(settings, encoders or {}, shared),
        shared=shared,
        pool=pool,
        metrics=metrics,
    )
    app = FastAPI(
        title="diantu",
        version=version("diantu"),
        description="Search galleries of images by text, image or vector.",
        lifespan=_lifespan,
        docs_url=None,  # they load scripts from another host
        redoc_url=None,
        middleware=_middleware(context),
    )
    app.state.context = context
    for module in _ROUTES:
        app.include_router(module.router)
    documentation.install(app, settings)
    problems.install(app)
    page.mount(app)
    return app


def _middleware(context: Context) -> list[Middleware]:
    """The outermost first: a browser asks about another origin without a token."""
    settings = context.settings
    guard = Middleware(Guard, context=context)
    if not settings.cors:
        return [guard]
    cors = Middleware(
        CORSMiddleware, allow_origins=settings.cors, allow_methods=["GET", "POST"],
        allow_headers=["Authorization", "Content-Type"], expose_headers=["ETag", "Retry-After"],
    )  # fmt: skip
    return [cors, guard]


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Loads the models and follows changes of the galleries while the service runs."""
    context: Context = app.state.context
    tasks = [asyncio.create_task(_follow(context, name)) for name in context.galleries]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        context.pool.close()
        context.shared.close()


async def _follow(context: Context, name: str) -> None:
    served = context.galleries[name]
    await asyncio.to_thread(served.warm_up)
    while True:
        await asyncio.sleep(context.settings.refresh_seconds)
        await asyncio.to_thread(served.refresh)
