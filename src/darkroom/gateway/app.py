"""The gateway as an ASGI application: routes, and the layers every request goes through.

RequestName -> NetworkWall -> AccessWall -> UnreadBody -> BodyLimit -> routes
an id, and     proxies, IP    Host and      not before    413 while    each noun one file; a dialect owns its errors'
a last resort  lists          Origin        who asks      reading      shape, the rest is refusals.py's
                                            is known
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from .. import __version__
from ..config import ServeSettings
from ..errors import DarkroomError
from . import described, refusals, ui
from .access import AccessWall, AllowList
from .dialects import course, openai, openai_answers
from .limits import MIB, BodyLimit, RequestName, is_of_worker
from .network import Networks, NetworkWall
from .parts import Gateway, Parts
from .reception import UnreadBody
from .routes import (
    adapters,
    artifacts,
    costs,
    events,
    fleet,
    health,
    jobs,
    models,
    sign_in,
    tokens,
    uploads,
    webhooks,
    worker_verbs,
    workers,
)

ROUTERS = (
    *(
        jobs.router,
        events.router,
        webhooks.router,
        uploads.router,
        artifacts.router,
        models.router,
        adapters.router,
        workers.router,
        fleet.router,
        costs.router,
        worker_verbs.router,
        health.router,
    ),
    *(tokens.router, sign_in.router, course.router, openai.router),
)
SHAPES = {openai.router.prefix: openai_answers.refused}  # of errors, by path


def build_app(parts: Parts) -> FastAPI:
    """The application over these parts; raises `InvalidConfig` where the URL secret cannot be kept.

    Its lifespan follows the store; opening and closing store and storage is the caller's.
    """
    gateway, serve = Gateway(parts), parts.settings.serve
    app = FastAPI(
        title="Darkroom",
        version=__version__,
        description=described.SUMMARY,
        lifespan=_lifespan_of(gateway),
        docs_url=None,  # the framework's pages load scripts from elsewhere; ours must do without a network
        redoc_url=None,
        redirect_slashes=False,
        separate_input_output_schemas=False,
    )
    app.state.gateway, app.state.shapes = gateway, SHAPES
    for router in ROUTERS:
        app.include_router(router)
    described.attach(app)
    app.include_router(ui.router)
    app.add_exception_handler(DarkroomError, refusals.on_darkroom_error)
    app.add_exception_handler(RequestValidationError, refusals.on_validation_error)
    app.add_exception_handler(HTTPException, refusals.on_http_exception)
    # What is added last is outermost.
    # Two budgets, of users and of workers: neither keeps the other out.
    limits, budget = _body_limits(serve), serve.max_bodies_mb * MIB
    app.add_middleware(BodyLimit, limit_of=limits, budget=budget, covers=lambda path: not is_of_worker(path))
    app.add_middleware(BodyLimit, limit_of=limits, budget=budget, covers=is_of_worker)
    app.add_middleware(UnreadBody, look=gateway.caller_of)
    app.add_middleware(AccessWall, allowed=AllowList(serve))
    app.add_middleware(NetworkWall, networks=Networks(serve))
    app.add_middleware(RequestName, log_prompts=serve.log_prompts)
    return app


def _lifespan_of(gateway: Gateway) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await gateway.start()
        yield
        await gateway.stop()

    return lifespan


def _body_limits(serve: ServeSettings) -> Callable[[str], float]:
    """Bytes, by path."""
    by_prefix = {
        uploads.router.prefix: serve.max_upload_mb * MIB,
        worker_verbs.OBJECTS: worker_verbs.object_bytes(serve),
    }
    others = serve.max_body_mb * MIB
    return lambda path: next((most for prefix, most in by_prefix.items() if path.startswith(prefix)), others)
