"""Decorated views keep their parameters, and are awaited whether they were async or not."""

from collections.abc import AsyncGenerator

from quart import Blueprint, Quart, Response

from quart_jwt_extended import (
    fresh_jwt_required,
    jwt_optional,
    jwt_refresh_token_required,
    jwt_required,
    verify_fresh_jwt_in_request,
    verify_jwt_in_request,
    verify_jwt_in_request_optional,
    verify_jwt_refresh_token_in_request,
)

app = Quart(__name__)
blueprint = Blueprint("api", __name__)


@app.get("/access/<int:number>")
@jwt_required
async def access(number: int, *, verbose: bool = False) -> dict[str, int]:
    return {"number": number + verbose}


@app.get("/optional")
@jwt_optional
async def optional() -> tuple[Response, int]:
    return Response("who knows"), 200


@blueprint.get("/fresh/<path>")
@fresh_jwt_required
def fresh(path: str, depth: int = 1) -> str:
    return path * depth


@app.post("/refresh")
@jwt_refresh_token_required
def refresh(*parts: str, **options: int) -> Response:
    return Response("".join(parts) + str(options))


@app.get("/stream")
@jwt_required
async def stream() -> AsyncGenerator[bytes, None]:
    async def chunks() -> AsyncGenerator[bytes, None]:
        yield b"chunk"

    return chunks()


reveal_type(access)
# reveals: (number: int, *, verbose: bool = ...) -> Coroutine[Any, Any, dict[str, int]]
reveal_type(optional)
# reveals: () -> Coroutine[Any, Any, tuple[Response, int]]
reveal_type(fresh)
# reveals: (path: str, depth: int = ...) -> Coroutine[Any, Any, str]
reveal_type(refresh)
# reveals: (*parts: str, **options: int) -> Coroutine[Any, Any, Response]
reveal_type(stream)
# reveals: () -> Coroutine[Any, Any, AsyncGenerator[bytes, None]]


async def call_views() -> None:
    reveal_type(await access(1, verbose=True))
    # reveals: dict[str, int]
    reveal_type(await fresh("a", depth=2))
    # reveals: str
    await access("one")
    # refused: arg-type, reportArgumentType
    await access(1, True)
    # refused: call-arg, reportCallIssue
    await fresh()
    # refused: call-arg, reportCallIssue


@app.before_request
async def guard() -> None:
    reveal_type(await verify_jwt_in_request())
    # reveals: None
    reveal_type(await verify_jwt_in_request_optional())
    # reveals: None
    reveal_type(await verify_fresh_jwt_in_request())
    # reveals: None
    reveal_type(await verify_jwt_refresh_token_in_request())
    # reveals: None


async def waits(number: int, *, verbose: bool = False) -> str:
    return str(number) * verbose


def waits_not(number: int, *, verbose: bool = False) -> str:
    return str(number) * verbose


reveal_type(jwt_required(waits))
# reveals: (number: int, *, verbose: bool = ...) -> Coroutine[Any, Any, str]
reveal_type(jwt_required(waits_not))
# reveals: (number: int, *, verbose: bool = ...) -> Coroutine[Any, Any, str]
reveal_type(jwt_optional(waits))
# reveals: (number: int, *, verbose: bool = ...) -> Coroutine[Any, Any, str]
reveal_type(jwt_optional(waits_not))
# reveals: (number: int, *, verbose: bool = ...) -> Coroutine[Any, Any, str]
reveal_type(fresh_jwt_required(waits))
# reveals: (number: int, *, verbose: bool = ...) -> Coroutine[Any, Any, str]
reveal_type(fresh_jwt_required(waits_not))
# reveals: (number: int, *, verbose: bool = ...) -> Coroutine[Any, Any, str]
reveal_type(jwt_refresh_token_required(waits))
# reveals: (number: int, *, verbose: bool = ...) -> Coroutine[Any, Any, str]
reveal_type(jwt_refresh_token_required(waits_not))
# reveals: (number: int, *, verbose: bool = ...) -> Coroutine[Any, Any, str]


class Library:
    @jwt_required
    async def book(self, number: int) -> str:
        return str(number)


reveal_type(Library().book)
# reveals: (number: int) -> Coroutine[Any, Any, str]

jwt_required("view")
# refused: call-overload, reportCallIssue reportArgumentType
