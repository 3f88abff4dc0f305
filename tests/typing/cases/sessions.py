"""Sessions, token stores and the testing kit."""

from datetime import timedelta

from quart import Quart, Response

from quart_jwt_extended import (
    JWTManager,
    MemoryTokenStore,
    RedisTokenStore,
    Session,
    SessionTokens,
    SQLTokenStore,
    TokenStore,
    create_session,
    get_session_id,
    get_sessions,
    jwt_required,
    renew_websocket,
    revoke_session,
    revoke_sessions,
    revoke_token,
    rotate_session,
    set_session_cookies,
)
from quart_jwt_extended.testing import assert_protected, signed_in

app = Quart(__name__)
stores: list[TokenStore] = [MemoryTokenStore(), RedisTokenStore(None), SQLTokenStore(None)]
jwt = JWTManager(app, token_store=stores[0])
jwt.init_app(app, token_store=None)

JWTManager(app, token_store="redis://")
# refused: arg-type, reportArgumentType


@jwt.refresh_reuse_loader
async def warn(header: dict[str, object], claims: dict[str, object]) -> None: ...


@jwt.implicit_refresh_loader
def is_renewed(claims: dict[str, object]) -> bool:
    return True


@jwt_required(close_with_token=True)
async def socket() -> None:
    reveal_type(await renew_websocket("token"))
    # reveals: dict[str, Any]


async def sessions(response: Response) -> None:
    tokens = await create_session("alice", fresh=timedelta(minutes=5), metadata={"a": 1})
    reveal_type(tokens)
    # mypy reveals: tuple[str, str, str, fallback=SessionTokens]
    # pyright reveals: SessionTokens
    reveal_type((await rotate_session()).session_id)
    # reveals: str
    set_session_cookies(response, tokens)
    reveal_type(await revoke_session())
    # reveals: bool
    await revoke_session("id", identity="alice")
    reveal_type(await revoke_sessions("alice", keep=get_session_id()))
    # reveals: int
    listed: list[Session] = await get_sessions("alice")
    reveal_type(listed[0].ends_at)
    # reveals: datetime | None
    await revoke_token()
    await revoke_token({"jti": "a"})
    await revoke_token(5)
    # refused: arg-type, reportArgumentType
    SessionTokens("access", "refresh", "id")


async def tests() -> None:
    async with signed_in(app, "alice", fresh=True, scopes="read", locations=["cookies"]) as client:
        await client.get("/")
    await assert_protected(app, exempt=("login",))
