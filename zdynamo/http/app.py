"""The application: all routes, over one client."""

from collections.abc import Iterable

from starlette.responses import Response
from starlette.routing import BaseRoute, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from zdynamo.http import assets, keys, live, many, simple, watch
from zdynamo.http.docs import documentation
from zdynamo.http.door import Door
from zdynamo.http.resource import Resource, unknown_path

RESOURCES: tuple[Resource, ...] = (
    *simple.RESOURCES,
    *keys.RESOURCES,
    *many.RESOURCES,
    *watch.RESOURCES,
    *live.RESOURCES,
)


def application(door: Door, more: Iterable[BaseRoute] = ()) -> ASGIApp:
    """`more`: routes beside these. No middleware: a request goes from the server to its handler, and back."""
    routes = [resource.at(door) for resource in (*RESOURCES, *documentation(RESOURCES), *assets.RESOURCES)]
    return Router([*routes, *more], redirect_slashes=False, default=_unknown)


async def _unknown(scope: Scope, receive: Receive, send: Send) -> None:
    response: Response = unknown_path(scope).response()
    await response(scope, receive, send)
