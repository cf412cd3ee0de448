"""The application of the site."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

from scripts.portal.failures import HANDLERS
from scripts.portal.headers import Guard
from scripts.portal.routes import ROUTES
from scripts.portal.settings import SiteSettings
from scripts.portal.site import Site

STATIC: Final = Path(__file__).parent / "static"


def make_app(settings: SiteSettings) -> Starlette:
    """Makes the application; the connections of its clients close with it."""
    site = Site(settings)

    @asynccontextmanager
    async def living(_app: Starlette) -> AsyncIterator[None]:
        yield
        site.close()

    handlers: Mapping[Any, Any] = HANDLERS
    app = Starlette(
        routes=[*ROUTES, Mount("/static", StaticFiles(directory=STATIC), name="static")],
        middleware=[Middleware(Guard)],
        exception_handlers=handlers,
        lifespan=living,
    )
    app.state.site = site
    return app
