"""The gateway's spans: one for each request, by the conventions for HTTP servers (opentelemetry.io/docs/specs/semconv).

Parts behind it know nothing of it. They find its span in the request's `traceparent`, as they would find a proxy's.
"""

from __future__ import annotations

from typing import Any

import structlog
from opentelemetry.trace import Span
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .traces import Tracing, fail, trace_id_of, traceparent_of

HEADER = "traceparent"
UNTRACED = frozenset({"/healthz", "/readyz", "/metrics"})  # asked every few seconds, by those who want no answer to it


class TraceLayer:
    """ASGI, outermost: a server span around each request; its trace's id is in every log line of it."""

    def __init__(self, app: ASGIApp, tracing: Tracing) -> None:
        self.app, self.tracing = app, tracing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket") or scope["path"] in UNTRACED:
            await self.app(scope, receive, send)
            return
        method = scope.get("method", "WEBSOCKET")
        said = {"http.request.method": method, "url.path": scope["path"]}
        span = self.tracing.begin(method, Headers(scope=scope).get(HEADER, ""), said, is_server=True)
        kept = [(name, value) for name, value in scope["headers"] if name.lower() != HEADER.encode()]
        scope["headers"] = [*kept, (HEADER.encode(), traceparent_of(span).encode())]
        try:
            with structlog.contextvars.bound_contextvars(trace_id=trace_id_of(span)):
                await self.app(scope, receive, _watching(send, span))
        finally:
            _tell(span, scope, method)
            span.end()


def _watching(send: Send, span: Span) -> Send:
    async def watched(message: Message) -> None:
        if message["type"] in ("http.response.start", "websocket.http.response.start"):
            span.set_attribute("http.response.status_code", message["status"])
            if message["status"] >= 500:
                fail(span, str(message["status"]))
        await send(message)

    return watched


def _tell(span: Span, scope: Scope, method: str) -> None:
    """What is known once it has been answered: the route, and whose request it was."""
    state: dict[str, Any] = scope.get("state", {})
    route = getattr(scope.get("route"), "path", None)
    job_id = state.get("job_id") or scope.get("path_params", {}).get("job_id")
    said = {"http.route": route, "darkroom.request.id": state.get("request_id"), "darkroom.job.id": job_id}
    span.set_attributes({name: str(value) for name, value in said.items() if value})
    if route:
        span.update_name(f"{method} {route}")
