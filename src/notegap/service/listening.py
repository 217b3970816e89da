"""Sockets that listen."""

from __future__ import annotations

import socket


def listening(host: str, port: int) -> socket.socket:
    """A TCP socket that listens at an address; port 0 takes any free one. Raises OSError when it cannot."""
    family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0][0]
    made = socket.create_server((host, port), family=family)
    # What is accepted has it from the listener. asyncio sets it on its own sockets only: without it the second part of
    # an answer waits for the client to confirm the first, which it does after 40 ms.
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return made
