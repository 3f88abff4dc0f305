"""Accounts: what surrounds a login in a service for browsers, from end to end.

Users register, log in, see the devices that they are logged in on, and log out: here, on
another device, or everywhere. Tokens are in cookies, and whoever is active gets new ones
without asking. A new password needs the old one just before, and ends all other sessions.
A WebSocket ends with its session, and goes on with a new token.

Run it with ``hypercorn examples/accounts:app``; the environment variable JWT_SECRET_KEY
holds a secret of 32 random bytes or more. Users are in SQLite, in the file accounts.db,
or where DATABASE_URL says, such as ``postgresql+asyncpg://user:password@host/database``.
Sessions are in the same database, or in the Redis that REDIS_URL names. It needs the
packages sqlalchemy[asyncio] and aiosqlite, or asyncpg for PostgreSQL, and redis for Redis.

A database keeps sessions that have ended: ``quart --app examples/accounts:app jwt purge``
deletes them, once a day for example.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import uuid
from collections.abc import AsyncGenerator
from datetime import timedelta
from typing import Any

from jwt import InvalidTokenError
from quart import Quart, Response, jsonify, request, websocket
from quart.typing import ResponseReturnValue
from sqlalchemy import String, select, update
from sqlalchemy.exc import IntegrityError, SQLAlchemyError
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from werkzeug.exceptions import BadRequest
from werkzeug.security import check_password_hash, generate_password_hash

from quart_jwt_extended import (
    JWTExtendedException,
    JWTManager,
    RedisTokenStore,
    SQLTokenStore,
    create_access_token,
    create_session,
    current_user,
    get_current_user,
    get_session_id,
    get_sessions,
    jwt_required,
    renew_websocket,
    revoke_session,
    revoke_sessions,
    rotate_session,
    set_session_cookies,
    unset_jwt_cookies,
)

DATABASE_URL = os.environ.get("DATABASE_URL", "sqlite+aiosqlite:///accounts.db")
REDIS_URL = os.environ.get("REDIS_URL")
# How long after the password a token is good for what is dangerous.
FRESH_FOR = timedelta(minutes=5)
# Checked for unknown names, so that no answer tells by its time which names exist.
NOBODY = generate_password_hash(secrets.token_hex())

# Seconds that a connection, or with SQLite a lock, is waited for.
limits = {"timeout": 5}
if DATABASE_URL.startswith("postgresql+asyncpg:"):
    # A server that hangs has let us connect: each answer has its limit, too.
    limits["command_timeout"] = 5
engine = create_async_engine(
    DATABASE_URL,
    # Connections that a restart of the database has cut are replaced before use.
    pool_pre_ping=True,
    connect_args=limits,
    # Errors are logged; what they were about is nobody's business there.
    hide_parameters=True,
)
# Users are used after their transaction, so a commit must not empty them.
transaction = async_sessionmaker(engine, expire_on_commit=False)

redis = None
store: RedisTokenStore | SQLTokenStore = SQLTokenStore(engine)
if REDIS_URL:
    # Only those who have a Redis need the package.
    from redis.asyncio import Redis
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff

    # Seconds; and once more, at once: a restart of Redis has cut the open connections.
    redis = Redis.from_url(
        REDIS_URL, socket_connect_timeout=1, socket_timeout=1, retry=Retry(NoBackoff(), 1)
    )
    store = RedisTokenStore(redis)

app = Quart(__name__)
app.config["JWT_SECRET_KEY"] = os.environ["JWT_SECRET_KEY"]
app.config["JWT_IDENTITY_CLAIM"] = "sub"
app.config["JWT_TOKEN_LOCATION"] = "cookies"
# Requests that come from other sites carry no cookies.
app.config["JWT_COOKIE_SAMESITE"] = "Strict"
# The refresh token goes to the two views below /token, and to no other.
app.config["JWT_REFRESH_COOKIE_PATH"] = "/token"
# A request in the last five of its fifteen minutes brings the next access token.
app.config["JWT_IMPLICIT_REFRESH"] = timedelta(minutes=5)
# A session that is not refreshed ends after 30 days; any other after 90.
app.config["JWT_SESSION_MAX_AGE"] = timedelta(days=90)
# Behind HTTPS, as in production, JWT_COOKIE_SECURE = True belongs here.
jwt = JWTManager(app, token_store=store)


# --- Users ---------------------------------------------------------------------------


class Base(DeclarativeBase):
    pass


class User(Base):
    __tablename__ = "users"

    # Random, and so never used again: tokens of a deleted user are good for nobody else.
    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    name: Mapped[str] = mapped_column(String(80), unique=True)
    password_hash: Mapped[str]


@app.while_serving
async def tables() -> AsyncGenerator[None, None]:
    # Fine to begin with; a tool such as Alembic makes tables, and changes them later. For
    # it, the store has its tables in ``store.metadata``.
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    if isinstance(store, SQLTokenStore):
        await store.create_tables()
    yield
    if redis is not None:
        await redis.aclose()
    await engine.dispose()


@jwt.user_identity_loader
def identity_of(user: User) -> str:
    return user.id


@jwt.user_loader_callback_loader
async def load_user(identity: str) -> User | None:
    async with transaction() as database:
        return await database.get(User, identity)


async def has_password(user: User | None, password: str) -> bool:
    """In a thread: the hash is slow on purpose, and other requests need not wait."""
    known = user.password_hash if user else NOBODY
    matches = await asyncio.to_thread(check_password_hash, known, password)
    return matches and user is not None


async def read_strings(*names: str) -> list[str]:
    """Strings from the JSON of the request, all of printable characters.

    JSON may hold half characters, which no hash takes, and null characters, which PostgreSQL
    does not.
    """
    body = await request.get_json(silent=True)
    values = [body.get(name) for name in names] if isinstance(body, dict) else []
    strings = [value for value in values if isinstance(value, str) and value.isprintable()]
    if len(strings) != len(names):
        raise BadRequest(f"Send JSON with these strings: {', '.join(names)}")
    return strings


@app.errorhandler(OSError)
# An OSError itself only since Python 3.11.
@app.errorhandler(asyncio.TimeoutError)
@app.errorhandler(SQLAlchemyError)
async def database_is_down(error: Exception) -> ResponseReturnValue:
    """Answer where a user cannot be loaded. For the store, the extension does the same."""
    app.logger.error("The database does not answer: %s", error)
    return {"msg": "Users cannot be looked up now, try again later"}, 503


@app.errorhandler(BadRequest)
async def bad_request(error: BadRequest) -> ResponseReturnValue:
    return {"msg": error.description}, 400


# --- Registering, logging in, renewing -----------------------------------------------


@app.post("/register")
async def register() -> ResponseReturnValue:
    name, password = await read_strings("username", "password")
    if not 0 < len(name) <= 80 or len(password) < 8:
        raise BadRequest("A name has 1 to 80 characters, a password 8 or more")
    password_hash = await asyncio.to_thread(generate_password_hash, password)
    user = User(id=str(uuid.uuid4()), name=name, password_hash=password_hash)
    try:
        async with transaction.begin() as database:
            database.add(user)
    except IntegrityError:
        # To ask first would not do: another request may take the name after that.
        return {"msg": "This name is taken"}, 409
    return {"username": name}, 201


@app.post("/login")
async def login() -> ResponseReturnValue:
    """It takes JSON only, which a form of another site cannot send."""
    name, password = await read_strings("username", "password")
    async with transaction() as database:
        user = await database.scalar(select(User).where(User.name == name))
    if not await has_password(user, password) or user is None:
        return {"msg": "Wrong username or password"}, 401
    device = request.headers.get("User-Agent", "unknown")[:200]
    tokens = await create_session(user, fresh=FRESH_FOR, metadata={"device": device})
    # A new password ends all sessions that there are. This one may have begun after that,
    # by the old password, which took its time to be checked.
    latest = await load_user(user.id)
    if latest is None or latest.password_hash != user.password_hash:
        await revoke_session(tokens.session_id)
        return {"msg": "Wrong username or password"}, 401
    response = jsonify(username=name)
    set_session_cookies(response, tokens)
    return response


@app.post("/token/refresh")
@jwt_required(refresh=True)
async def refresh() -> Response:
    """New tokens for a user who was inactive until the access token expired."""
    response = jsonify(username=current_user.name)
    set_session_cookies(response, await rotate_session())
    return response


@app.post("/token/confirm")
@jwt_required(refresh=True)
async def confirm() -> ResponseReturnValue:
    """The password again, which makes the access token fresh again."""
    (password,) = await read_strings("password")
    if not await has_password(get_current_user(), password):
        return {"msg": "Wrong password"}, 401
    response = jsonify(username=current_user.name)
    set_session_cookies(response, await rotate_session(fresh=FRESH_FOR))
    return response


@jwt.refresh_reuse_loader
def warn(header: dict[str, Any], claims: dict[str, Any]) -> None:
    """Tell the log of a stolen refresh token. Its session has ended, for thief and user."""
    app.logger.warning("Refresh token reused: session %(sid)s of user %(sub)s", claims)


# --- The account ---------------------------------------------------------------------


@app.get("/me")
@jwt_required
async def me() -> ResponseReturnValue:
    return {"username": current_user.name}


@app.put("/password")
@jwt_required(fresh=True)
async def change_password() -> ResponseReturnValue:
    """Whoever knew the old one is out, on all devices but this."""
    (password,) = await read_strings("password")
    if len(password) < 8:
        raise BadRequest("A password has 8 characters or more")
    password_hash = await asyncio.to_thread(generate_password_hash, password)
    async with transaction.begin() as database:
        change = update(User).where(User.id == current_user.id)
        await database.execute(change.values(password_hash=password_hash))
    ended = await revoke_sessions(current_user.id, keep=get_session_id())
    return {"msg": "Password changed", "sessions_ended": ended}


@app.get("/sessions")
@jwt_required
async def devices() -> ResponseReturnValue:
    return [
        {
            "id": session.id,
            "device": session.metadata["device"],
            "since": session.created_at.isoformat(),
            "is_this_one": session.id == get_session_id(),
        }
        for session in await get_sessions(current_user.id)
    ]


@app.delete("/sessions/<session_id>")
@jwt_required
async def log_out_device(session_id: str) -> ResponseReturnValue:
    """Nobody can end the sessions of others: the id comes from the client."""
    if not await revoke_session(session_id, identity=current_user.id):
        return {"msg": "You have no such session"}, 404
    return {"msg": "Logged out there"}


@app.post("/logout")
@jwt_required
async def log_out() -> Response:
    """The tokens end, and the browser forgets them."""
    await revoke_session()
    response = jsonify(msg="Logged out")
    unset_jwt_cookies(response)
    return response


@app.post("/logout/everywhere")
@jwt_required
async def log_out_everywhere() -> Response:
    ended = await revoke_sessions(current_user.id)
    response = jsonify(msg="Logged out everywhere", sessions_ended=ended)
    unset_jwt_cookies(response)
    return response


# --- A WebSocket ---------------------------------------------------------------------


@app.post("/ticket")
@jwt_required
async def ticket() -> ResponseReturnValue:
    """A token to send in "renew <token>", as scripts cannot read those in cookies."""
    claims = {"sid": get_session_id()}
    return {"token": create_access_token(get_current_user(), additional_claims=claims)}


@app.websocket("/live")
@jwt_required(close_with_token=True)
async def live() -> None:
    """It is closed with code 4401 when the token expires or the session ends."""
    while True:
        match await websocket.receive():
            case str(text) if text.startswith("renew "):
                try:
                    await renew_websocket(text.removeprefix("renew "))
                    await websocket.send_json({"msg": "Renewed"})
                except (InvalidTokenError, JWTExtendedException) as error:
                    await websocket.send_json({"msg": str(error)})
            case text:
                await websocket.send_json({"username": current_user.name, "text": text})
