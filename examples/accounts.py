"""A complete service for a web app: users, sessions, devices, and a WebSocket.

Users register, log in, list the devices on which they are logged in, and log out: on this device,
on another one, or everywhere. Tokens are in cookies, and the access token of an active user is
renewed automatically. Changing the password requires a recent login or confirmation, and revokes
all other sessions. A WebSocket is closed when its session ends, and its client can renew the token.

Run it with ``hypercorn examples/accounts:app``. Environment variables configure it:

- ``JWT_SECRET_KEY``: a secret of at least 32 random bytes. It is required.
- ``DATABASE_URL``: the database, by default the SQLite file accounts.db. For PostgreSQL, use
  ``postgresql+asyncpg://user:password@host/database``.
- ``REDIS_URL``: the Redis server that stores the sessions, instead of the database.

It requires the packages sqlalchemy[asyncio], aiosqlite or asyncpg, and for Redis the package redis.

Sessions that have ended stay in the database until ``quart --app examples/accounts:app jwt purge``
deletes them, for example once a day.
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
# The time after entering the password in which sensitive actions are allowed.
FRESH_FOR = timedelta(minutes=5)
# Checked for unknown names, so that response times do not reveal which names exist.
DUMMY_HASH = generate_password_hash(secrets.token_hex())

# In seconds: for a connection, or with SQLite for a lock.
timeouts = {"timeout": 5}
if DATABASE_URL.startswith("postgresql+asyncpg:"):
    # A hanging server may still accept connections, so each command has a timeout, too.
    timeouts["command_timeout"] = 5
engine = create_async_engine(
    DATABASE_URL,
    # Replace connections that a restart of the database has closed.
    pool_pre_ping=True,
    connect_args=timeouts,
    # Errors are logged, and must not contain personal data.
    hide_parameters=True,
)
# Users are read after their transaction has ended, so a commit must not expire them.
transaction = async_sessionmaker(engine, expire_on_commit=False)

redis = None
store: RedisTokenStore | SQLTokenStore = SQLTokenStore(engine)
if REDIS_URL:
    # The package is only required with Redis.
    from redis.asyncio import Redis
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff

    # Timeouts are in seconds. One retry, without a pause, reconnects after a restart of Redis.
    redis = Redis.from_url(
        REDIS_URL, socket_connect_timeout=1, socket_timeout=1, retry=Retry(NoBackoff(), 1)
    )
    store = RedisTokenStore(redis)

app = Quart(__name__)
app.config["JWT_SECRET_KEY"] = os.environ["JWT_SECRET_KEY"]
app.config["JWT_IDENTITY_CLAIM"] = "sub"
app.config["JWT_TOKEN_LOCATION"] = "cookies"
# Browsers do not send the cookies with requests from other sites.
app.config["JWT_COOKIE_SAMESITE"] = "Strict"
# Browsers send the refresh token only to the two views below /token.
app.config["JWT_REFRESH_COOKIE_PATH"] = "/token"
# A request in the last 5 of the 15 minutes of an access token renews it.
app.config["JWT_IMPLICIT_REFRESH"] = timedelta(minutes=5)
# A session ends 30 days after its last refresh, and at most 90 days after the login.
app.config["JWT_SESSION_MAX_AGE"] = timedelta(days=90)
# In production, behind HTTPS, also set JWT_COOKIE_SECURE to True.
jwt = JWTManager(app, token_store=store)


# --- Users ---------------------------------------------------------------------------


class Base(DeclarativeBase):
    pass


class User(Base):
    __tablename__ = "users"

    # A random ID is never used twice, so tokens of a deleted user are not valid for another user.
    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    name: Mapped[str] = mapped_column(String(80), unique=True)
    password_hash: Mapped[str]


@app.while_serving
async def create_tables() -> AsyncGenerator[None, None]:
    # In production, create and change the tables with a migration tool. Those of the store are in
    # ``store.metadata``.
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


@jwt.user_lookup_loader
async def load_user(_header: dict[str, Any], claims: dict[str, Any]) -> User | None:
    async with transaction() as database:
        return await database.get(User, claims["sub"])


async def has_password(user: User | None, password: str) -> bool:
    password_hash = user.password_hash if user else DUMMY_HASH
    # The hash is slow on purpose. In a thread, it does not block other requests.
    matches = await asyncio.to_thread(check_password_hash, password_hash, password)
    return matches and user is not None


async def read_fields(*names: str) -> list[str]:
    """Read strings from the JSON object in the request body; respond with 400 to any other body."""
    body = await request.get_json(silent=True)
    values = [body.get(name) for name in names] if isinstance(body, dict) else []
    # JSON may contain lone surrogates, which cannot be hashed, and null characters, which
    # PostgreSQL rejects. They are not printable.
    fields = [value for value in values if isinstance(value, str) and value.isprintable()]
    if len(fields) != len(names):
        raise BadRequest(f"Send a JSON object with these strings: {', '.join(names)}")
    return fields


@app.errorhandler(OSError)
# In Python 3.10, it is not an OSError.
@app.errorhandler(asyncio.TimeoutError)
@app.errorhandler(SQLAlchemyError)
async def database_is_down(error: Exception) -> ResponseReturnValue:
    """Respond if users cannot be loaded. For the token store, the extension does the same."""
    app.logger.error("Database unavailable: %s", error)
    return {"msg": "Database unavailable"}, 503


@app.errorhandler(BadRequest)
async def bad_request(error: BadRequest) -> ResponseReturnValue:
    return {"msg": error.description}, 400


# --- Registration, login and refresh -------------------------------------------------


@app.post("/register")
async def register() -> ResponseReturnValue:
    name, password = await read_fields("username", "password")
    if not 0 < len(name) <= 80 or len(password) < 8:
        raise BadRequest("The username must have 1 to 80 characters, the password at least 8")
    password_hash = await asyncio.to_thread(generate_password_hash, password)
    user = User(id=str(uuid.uuid4()), name=name, password_hash=password_hash)
    try:
        async with transaction.begin() as database:
            database.add(user)
    except IntegrityError:
        # Checking first is not enough: another request may insert the name in between.
        return {"msg": "This username is taken"}, 409
    return {"username": name}, 201


@app.post("/login")
async def login() -> ResponseReturnValue:
    """Accept only JSON, which a form on another site cannot send."""
    name, password = await read_fields("username", "password")
    async with transaction() as database:
        user = await database.scalar(select(User).where(User.name == name))
    if not await has_password(user, password) or user is None:
        return {"msg": "Wrong username or password"}, 401
    device = request.headers.get("User-Agent", "unknown")[:200]
    tokens = await create_session(user, fresh=FRESH_FOR, metadata={"device": device})
    # While the old password was checked here, another request may have changed it and revoked all
    # sessions. It cannot have revoked this one, which did not exist yet.
    async with transaction() as database:
        latest = await database.get(User, user.id)
    if latest is None or latest.password_hash != user.password_hash:
        await revoke_session(tokens.session_id)
        return {"msg": "Wrong username or password"}, 401
    response = jsonify(username=name)
    set_session_cookies(response, tokens)
    return response


@app.post("/token/refresh")
@jwt_required(refresh=True)
async def refresh() -> Response:
    """Create new tokens for a user whose access token has expired."""
    response = jsonify(username=current_user.name)
    set_session_cookies(response, await rotate_session())
    return response


@app.post("/token/confirm")
@jwt_required(refresh=True)
async def confirm() -> ResponseReturnValue:
    """Create a fresh access token for a user who confirms the password."""
    (password,) = await read_fields("password")
    if not await has_password(get_current_user(), password):
        return {"msg": "Wrong password"}, 401
    response = jsonify(username=current_user.name)
    set_session_cookies(response, await rotate_session(fresh=FRESH_FOR))
    return response


@jwt.refresh_reuse_loader
def log_reuse(_header: dict[str, Any], claims: dict[str, Any]) -> None:
    """Log that a refresh token may be stolen. Its session has been revoked."""
    app.logger.warning("Refresh token reused: session %(sid)s of user %(sub)s", claims)


# --- The account ---------------------------------------------------------------------


@app.get("/me")
@jwt_required
async def me() -> ResponseReturnValue:
    return {"username": current_user.name}


@app.put("/password")
@jwt_required(fresh=True)
async def change_password() -> ResponseReturnValue:
    """Change the password, and log out all other devices."""
    (password,) = await read_fields("password")
    if len(password) < 8:
        raise BadRequest("The password must have at least 8 characters")
    password_hash = await asyncio.to_thread(generate_password_hash, password)
    async with transaction.begin() as database:
        change = update(User).where(User.id == current_user.id)
        await database.execute(change.values(password_hash=password_hash))
    ended = await revoke_sessions(current_user.id, keep=get_session_id())
    return {"msg": "Password changed", "sessions_ended": ended}


@app.get("/sessions")
@jwt_required
async def list_sessions() -> ResponseReturnValue:
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
    """Log out a device of the user. The identity protects the sessions of other users."""
    if not await revoke_session(session_id, identity=current_user.id):
        return {"msg": "Session not found"}, 404
    return {"msg": "Session revoked"}


@app.post("/logout")
@jwt_required
async def log_out() -> Response:
    """Revoke the session and delete the cookies."""
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
    """Create a token for the message "renew <token>": scripts cannot read those in cookies."""
    claims = {"sid": get_session_id()}
    return {"token": create_access_token(get_current_user(), additional_claims=claims)}


@app.websocket("/live")
@jwt_required(close_with_token=True)
async def live() -> None:
    """Echo messages until the token expires or the session ends, which closes the socket."""
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
