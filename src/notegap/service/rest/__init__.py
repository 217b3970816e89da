"""The REST interface, /v1: the contract's note in, the contract's report out, and what is served around them."""

from notegap.service.rest.router import rest_router

__all__ = ["rest_router"]
