"""What a route asks for: the options of jwt_required, verify_jwt_in_request and protect."""

from quart import Blueprint, Quart, Response, websocket
from quart.views import MethodView

from quart_jwt_extended import (
    InsufficientScopeError,
    jwt_exempt,
    jwt_required,
    protect,
    verify_jwt_in_request,
)

app = Quart(__name__)
blueprint = Blueprint("api", __name__)


# --- jwt_required, called -------------------------------------------------------------------------


@app.get("/orders/<int:number>")
@jwt_required(fresh=True, locations=["headers", "cookies"], scopes={"orders:read", "orders:write"})
async def orders(number: int, *, verbose: bool = False) -> dict[str, int]:
    return {"number": number + verbose}


@app.get("/plain/<path>")
@jwt_required(optional=True, locations="headers", scopes="read")
def plain(path: str, depth: int = 1) -> str:
    return path * depth


@app.post("/refresh")
@jwt_required(refresh=True, skip_revocation_check=True, locations=("json", "query_string"))
async def refresh() -> tuple[Response, int]:
    return Response("token"), 201


@app.websocket("/feed")
@jwt_required(locations={"websocket_protocol"}, verify_type=False)
async def feed() -> None:
    await websocket.send("ready")


@app.websocket("/bare")
@jwt_required
async def bare() -> None:
    await websocket.send("ready")


reveal_type(orders)
# reveals: (number: int, *, verbose: bool = ...) -> Coroutine[Any, Any, dict[str, int]]
reveal_type(plain)
# reveals: (path: str, depth: int = ...) -> Coroutine[Any, Any, str]
reveal_type(refresh)
# reveals: () -> Coroutine[Any, Any, tuple[Response, int]]
reveal_type(feed)
# reveals: () -> Coroutine[Any, Any, None]
reveal_type(bare)
# reveals: () -> Coroutine[Any, Any, None]


async def waits(number: int, *, verbose: bool = False) -> str:
    return str(number) * verbose


def waits_not(number: int, *, verbose: bool = False) -> str:
    return str(number) * verbose


reveal_type(jwt_required()(waits))
# reveals: (number: int, *, verbose: bool = ...) -> Coroutine[Any, Any, str]
reveal_type(jwt_required()(waits_not))
# reveals: (number: int, *, verbose: bool = ...) -> Coroutine[Any, Any, str]
reveal_type(jwt_required(waits, fresh=True))
# reveals: (number: int, *, verbose: bool = ...) -> Coroutine[Any, Any, str]
reveal_type(jwt_required(waits_not, scopes=["read"]))
# reveals: (number: int, *, verbose: bool = ...) -> Coroutine[Any, Any, str]
reveal_type(jwt_required(None, fresh=True)(waits))
# reveals: (number: int, *, verbose: bool = ...) -> Coroutine[Any, Any, str]


class Books(MethodView):
    @jwt_required(scopes=("books",))
    async def get(self, number: int) -> str:
        return str(number)

    @jwt_exempt
    async def post(self, number: int) -> str:
        return str(number)


reveal_type(Books().get)
# reveals: (number: int) -> Coroutine[Any, Any, str]


async def call_views() -> None:
    reveal_type(await orders(1, verbose=True))
    # reveals: dict[str, int]
    await orders("one")
    # refused: arg-type, reportArgumentType
    await plain()
    # refused: call-arg, reportCallIssue


jwt_required(fresh="yes")
# refused: call-overload, reportArgumentType
jwt_required(locations="body")
# refused: call-overload, reportArgumentType
jwt_required(locations=["headers", "cookie"])
# refused: list-item, reportArgumentType
jwt_required(scopes=1)
# refused: call-overload, reportArgumentType
jwt_required(role="admin")
# refused: call-overload, reportCallIssue
jwt_required(True)
# refused: call-overload, reportCallIssue reportArgumentType
jwt_required()("view")
# refused: call-overload, reportCallIssue reportArgumentType


# --- verify_jwt_in_request ------------------------------------------------------------------------


# It is a hook itself, too: Quart takes what a hook returns for an answer.
app.before_request(verify_jwt_in_request)
app.before_websocket(verify_jwt_in_request)


@app.before_request
async def guard() -> None:
    await reveal_type(verify_jwt_in_request())
    # reveals: Coroutine[Any, Any, None]
    await verify_jwt_in_request(optional=True, locations=["headers"], scopes="read")
    await verify_jwt_in_request(True, False, False, "cookies", True, False, ("read", "write"))
    await verify_jwt_in_request(optional=None)
    # refused: arg-type, reportArgumentType
    await verify_jwt_in_request(locations=["body"])
    # refused: list-item, reportArgumentType
    await verify_jwt_in_request(scopes=[1])
    # refused: list-item, reportArgumentType


# --- Whole apps and blueprints --------------------------------------------------------------------


@app.get("/open/<int:number>")
@jwt_exempt
async def open_view(number: int) -> str:
    return str(number)


reveal_type(open_view)
# reveals: (number: int) -> Coroutine[Any, Any, str]
reveal_type(protect(app))
# reveals: None
protect(app, exempt=("static", "login"), fresh=True)
protect(blueprint, exempt="login", optional=True, locations={"headers"}, scopes=["read"])

protect("app")
# refused: arg-type, reportArgumentType
protect(app, "static")
# refused: call-arg, reportCallIssue
protect(app, exempt=1)
# refused: arg-type, reportArgumentType
protect(app, locations="body")
# refused: arg-type, reportArgumentType
jwt_exempt("view")
# refused: type-var, reportArgumentType


# --- The exception --------------------------------------------------------------------------------

reveal_type(InsufficientScopeError().required)
# reveals: tuple[str, ...]
