"""
The page that shows the OpenAPI document to people. Its script and style come from this server: it works where there is
no internet, and nobody else learns who reads it.
"""

from __future__ import annotations

from pathlib import Path

import fastapi_offline
from fastapi import FastAPI, Request, Response
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.staticfiles import StaticFiles

PAGE = "/docs"
_ASSETS = f"{PAGE}/assets"

# The page starts its script by one line of its own, and draws its icons from data.
_CONTENT_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "frame-ancestors 'none'"
)


def add_docs(app: FastAPI) -> None:
    """
    Add the page, and what it is made of.
    """
    folder = Path(fastapi_offline.__file__).parent / "static"
    app.mount(_ASSETS, StaticFiles(directory=folder), name="docs-assets")
    app.add_api_route(PAGE, _page, include_in_schema=False)


async def _page(request: Request) -> Response:
    """
    Give the page.
    """
    root = request.scope.get("root_path", "")
    page = get_swagger_ui_html(
        openapi_url=f"{root}/openapi.json",
        title="stopsearch: the API",
        swagger_js_url=f"{root}{_ASSETS}/swagger-ui-bundle.js",
        swagger_css_url=f"{root}{_ASSETS}/swagger-ui.css",
        swagger_favicon_url=f"{root}{_ASSETS}/favicon.png",
        swagger_ui_parameters={"docExpansion": "list", "defaultModelsExpandDepth": -1, "tryItOutEnabled": True},
    )
    page.headers["Content-Security-Policy"] = _CONTENT_POLICY
    return page
