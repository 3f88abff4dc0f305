"""Routes and WebSockets that do nothing, below any decorators."""

from __future__ import annotations

from typing import Any

from quart import Blueprint, Quart


def add(scaffold: Quart | Blueprint, name: str, *decorators: Any, **options: Any) -> None:
    """Add a route /name."""

    async def view() -> str:
        return ""

    for decorator in reversed(decorators):
        view = decorator(view)
    scaffold.add_url_rule(f"/{name}", name, view, **options)


def add_socket(scaffold: Quart | Blueprint, name: str, *decorators: Any) -> None:
    """Add a WebSocket /name."""

    async def socket() -> None:
        return

    for decorator in reversed(decorators):
        socket = decorator(socket)
    scaffold.add_websocket(f"/{name}", name, socket)
