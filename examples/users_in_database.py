"""Users in a database: registration, login, and a user loader.

Run it with ``hypercorn examples/users_in_database:app``. Environment variables configure it:

- ``JWT_SECRET_KEY``: a secret of at least 32 random bytes. It is required.
- ``DATABASE_URL``: the database, by default the SQLite file users.db. For PostgreSQL, use
  ``postgresql+asyncpg://user:password@host/database``.

It requires the packages sqlalchemy[asyncio], and aiosqlite or asyncpg.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import uuid
from collections.abc import AsyncGenerator
from typing import Any

from quart import Quart, request
from quart.typing import ResponseReturnValue
from sqlalchemy import String, delete, select
from sqlalchemy.exc import IntegrityError, SQLAlchemyError
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from werkzeug.exceptions import BadRequest
from werkzeug.security import check_password_hash, generate_password_hash

from quart_jwt_extended import JWTManager, create_access_token, current_user, jwt_required

app = Quart(__name__)
app.config["JWT_SECRET_KEY"] = os.environ["JWT_SECRET_KEY"]
app.config["JWT_IDENTITY_CLAIM"] = "sub"
jwt = JWTManager(app)

DATABASE_URL = os.environ.get("DATABASE_URL", "sqlite+aiosqlite:///users.db")
# In seconds: for a connection, or with SQLite for a lock.
TIMEOUTS = {"timeout": 5}
if DATABASE_URL.startswith("postgresql+asyncpg:"):
    # A hanging server may still accept connections, so each command has a timeout, too.
    TIMEOUTS["command_timeout"] = 5

engine = create_async_engine(
    DATABASE_URL,
    # Replace connections that a restart of the database has closed.
    pool_pre_ping=True,
    connect_args=TIMEOUTS,
    # Errors are logged, and must not contain personal data.
    hide_parameters=True,
)
# Users are read after their transaction has ended, so a commit must not expire them.
new_session = async_sessionmaker(engine, expire_on_commit=False)

# Checked for unknown names, so that response times do not reveal which names exist.
DUMMY_HASH = generate_password_hash(secrets.token_hex())


class Base(DeclarativeBase):
    pass


class User(Base):
    __tablename__ = "users"

    # A random ID is never used twice. A number may be, and the tokens of a deleted user would then
    # be valid for another one.
    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    name: Mapped[str] = mapped_column(String(80), unique=True)
    password_hash: Mapped[str]


@app.while_serving
async def create_tables() -> AsyncGenerator[None, None]:
    # In production, create and change the tables with a migration tool.
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    yield
    await engine.dispose()


@jwt.user_identity_loader
def identity_of(user: User) -> str:
    """Return the value of ``sub``, which must be a string (RFC 7519, section 4.1.2)."""
    return user.id


@jwt.user_lookup_loader
async def load_user(_header: dict[str, Any], claims: dict[str, Any]) -> User | None:
    """Return the user of the request. If it is None, the response is 401."""
    async with new_session() as session:
        return await session.get(User, claims["sub"])


@app.errorhandler(OSError)
# In Python 3.10, it is not an OSError.
@app.errorhandler(asyncio.TimeoutError)
@app.errorhandler(SQLAlchemyError)
async def database_is_down(error: Exception) -> ResponseReturnValue:
    app.logger.error("Database unavailable: %s", error)
    return {"msg": "Database unavailable"}, 503


@app.errorhandler(BadRequest)
async def bad_request(error: BadRequest) -> ResponseReturnValue:
    return {"msg": error.description}, 400


@app.errorhandler(UnicodeError)
async def invalid_text(_error: UnicodeError) -> ResponseReturnValue:
    """Respond to a body that is not UTF-8, or to a JSON string that cannot be encoded as UTF-8."""
    return {"msg": "Send text in UTF-8"}, 400


async def read_credentials() -> tuple[str, str]:
    match await request.get_json(silent=True):
        # PostgreSQL rejects null characters, and other unprintable ones would be invisible.
        case {"username": str(name), "password": str(password)} if name.isprintable():
            if 0 < len(name) <= 80:
                return name, password
    raise BadRequest("Send a JSON object with a username of 1 to 80 characters and a password")


@app.post("/register")
async def register() -> ResponseReturnValue:
    name, password = await read_credentials()
    if len(password) < 8:
        raise BadRequest("The password must have at least 8 characters")
    # The hash is slow on purpose. In a thread, it does not block other requests.
    password_hash = await asyncio.to_thread(generate_password_hash, password)
    user = User(id=str(uuid.uuid4()), name=name, password_hash=password_hash)
    try:
        async with new_session.begin() as session:
            session.add(user)
    except IntegrityError:
        # Checking first is not enough: another request may insert the name in between.
        return {"msg": "This username is taken"}, 409
    return {"id": user.id, "username": user.name}, 201


@app.post("/login")
async def login() -> ResponseReturnValue:
    name, password = await read_credentials()
    async with new_session() as session:
        user = await session.scalar(select(User).where(User.name == name))
    password_hash = user.password_hash if user else DUMMY_HASH
    matches = await asyncio.to_thread(check_password_hash, password_hash, password)
    if user is None or not matches:
        return {"msg": "Wrong username or password"}, 401
    return {"access_token": create_access_token(user, fresh=True)}


@app.get("/me")
@jwt_required
async def me() -> ResponseReturnValue:
    return {"id": current_user.id, "username": current_user.name}


@app.delete("/me")
@jwt_required(fresh=True)
async def delete_me() -> ResponseReturnValue:
    """Delete the user. Their tokens are rejected from now on, because no user is found."""
    async with new_session.begin() as session:
        await session.execute(delete(User).where(User.id == current_user.id))
    return {"msg": "User deleted"}
