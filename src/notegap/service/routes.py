"""What is asked, by names of ours: a method that there is, a route as it is written in the code."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from starlette.routing import BaseRoute, Match
from starlette.types import Scope

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


def method_of(scope: Scope) -> str:
    """The method; "other" for one that nobody knows."""
    return scope["method"] if scope["method"] in METHODS else "other"


def route_of(scope: Scope) -> str:
    """The route, also of a request that was answered before it got there; "none" when it is at no route of ours."""
    route = scope.get("route")
    if route is None and "app" in scope:
        # A copy: matching writes nothing into it, and is not to.
        found = ((each, each.matches(dict(scope))[0]) for each in _routes(scope["app"].routes))
        route = next((each for each, match in found if match is not Match.NONE), None)
    # What is at no route of ours has no name: an address may hold anything.
    return str(getattr(route, "path", "none"))


def _routes(routes: Iterable[BaseRoute]) -> Iterator[BaseRoute]:
    """Routes, and those of the routers among them: newer versions of FastAPI keep a router that is included as one."""
    for route in routes:
        router = getattr(route, "original_router", None)
        yield from _routes(router.routes) if router is not None else (route,)
