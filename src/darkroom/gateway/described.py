"""The API described: OpenAPI at /openapi.json, and a page at /docs that needs no network."""

from __future__ import annotations

import html
import json
from collections.abc import Iterator
from typing import Any

from fastapi import FastAPI
from starlette.responses import HTMLResponse

SUMMARY = (
    "Diffusion models, served. Make a job with `POST /v1/jobs`, follow its events, fetch its pictures. Errors are "
    '`{"error": {"code", "message", "field", "request_id"}}`; 429 and 503 say in `Retry-After` when to come back. '
    "WebSocket, which OpenAPI has no words for: `/v1/jobs/{job_id}/ws` sends what `/v1/jobs/{job_id}/events` sends, "
    "`/v1/events/ws` what `/v1/events` sends."
)
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
STYLE = """
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1d1d1f;background:#fff}
code,pre{font:13px/1.45 ui-monospace,monospace}pre{background:#f5f5f7;padding:.75rem;overflow:auto}
h2{margin-top:2.5rem}details{border-top:1px solid #ddd;padding:.5rem 0}summary{cursor:pointer}
b.m{display:inline-block;min-width:4.5rem}td,th{text-align:left;vertical-align:top;padding:.15rem 1rem .15rem 0}
@media(prefers-color-scheme:dark){body{color:#eee;background:#161618}pre{background:#232326}details{border-color:#333}}
"""


def attach(app: FastAPI) -> None:
    """Give the application its description; routes that come later are not in it."""
    plain = app.openapi

    def described() -> dict[str, Any]:
        if app.openapi_schema is None:
            without_422(plain())
        assert app.openapi_schema is not None
        return app.openapi_schema

    app.openapi = described  # type: ignore[method-assign]  # the framework's own way to change it

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return HTMLResponse(page_of(app.openapi()), headers={"Content-Security-Policy": POLICY})


def without_422(schema: dict[str, Any]) -> None:
    """Take out what the framework says of validation errors: here they are 400, as declared, in the one error shape."""
    for operation in _operations(schema):
        operation[2]["responses"].pop("422", None)
    for name in ("HTTPValidationError", "ValidationError"):
        schema.get("components", {}).get("schemas", {}).pop(name, None)


def page_of(schema: dict[str, Any]) -> str:
    """All routes on one page."""
    sections: dict[str, list[str]] = {}
    for path, method, operation in _operations(schema):
        sections.setdefault(operation.get("tags", [""])[0], []).append(_route(path, method, operation))
    body = "".join(f"<h2>{html.escape(tag)}</h2>{''.join(routes)}" for tag, routes in sections.items())
    shapes = "".join(_shape(name, shape) for name, shape in schema["components"]["schemas"].items())
    title = f"{html.escape(schema['info']['title'])} {html.escape(schema['info']['version'])}"
    head = f"<!doctype html><html lang=en><meta charset=utf-8><title>{title}</title><style>{STYLE}</style>"
    summary = f"<h1>{title}</h1><p>{html.escape(SUMMARY)}</p><p><a href=/openapi.json>openapi.json</a></p>"
    return f"{head}{summary}{body}<h2>Shapes</h2>{shapes}</html>"


def _operations(schema: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in schema["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def _route(path: str, method: str, operation: dict[str, Any]) -> str:
    head = f"<b class=m>{method.upper()}</b> <code>{html.escape(path)}</code>"
    said = html.escape((operation.get("description", "").splitlines() or [""])[0])
    inputs = [(f"{each['in']} {each['name']}", each.get("description", "")) for each in operation.get("parameters", [])]
    body = operation.get("requestBody", {}).get("content", {})
    inputs += [(f"body {kind}", _name_of(content.get("schema", {}))) for kind, content in body.items()]
    answers = [(status, answer.get("description", "")) for status, answer in sorted(operation["responses"].items())]
    return f"<details><summary>{head} {said}</summary>{_table(inputs)}{_table(answers)}</details>"


def _table(rows: list[tuple[str, str]]) -> str:
    cells = "".join(f"<tr><th><code>{html.escape(a)}</code><td>{html.escape(b)}" for a, b in rows)
    return f"<table>{cells}</table>" if rows else ""


def _shape(name: str, shape: dict[str, Any]) -> str:
    text = html.escape(json.dumps(shape, indent=1))
    return f"<details><summary><code>{html.escape(name)}</code></summary><pre>{text}</pre></details>"


def _name_of(schema: dict[str, Any]) -> str:
    return str(schema.get("$ref", "")).rpartition("/")[2] or str(schema.get("format", ""))
