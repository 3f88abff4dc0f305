"""Users in a database: they register, log in, and are loaded for each request.

Run it with ``hypercorn examples/users_in_database:app``; the environment variable
JWT_SECRET_KEY holds a secret of 32 random bytes or more. The database is SQLite, in the
file users.db, through aiosqlite, or what DATABASE_URL says, such as
``postgresql+asyncpg://user:password@host/database``. It needs the packages
sqlalchemy[asyncio] and aiosqlite, or asyncpg for PostgreSQL.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import uuid
from collections.abc import AsyncGenerator

from quart import Quart, request
from quart.typing import ResponseReturnValue
from sqlalchemy import String, delete, select
from sqlalchemy.exc import IntegrityError, SQLAlchemyError
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from werkzeug.exceptions import BadRequest
from werkzeug.security import check_password_hash, generate_password_hash

from quart_jwt_extended import (
    JWTManager,
    create_access_token,
    current_user,
    fresh_jwt_required,
    jwt_required,
)

app = Quart(__name__)
app.config["JWT_SECRET_KEY"] = os.environ["JWT_SECRET_KEY"]
app.config["JWT_IDENTITY_CLAIM"] = "sub"
jwt = JWTManager(app)

DATABASE_URL = os.environ.get("DATABASE_URL", "sqlite+aiosqlite:///users.db")
# Seconds that a connection, or with SQLite a lock, is waited for.
LIMITS = {"timeout": 5}
if DATABASE_URL.startswith("postgresql+asyncpg:"):
    # A server that hangs has let us connect: each answer has its limit, too.
    LIMITS["command_timeout"] = 5

engine = create_async_engine(
    DATABASE_URL,
    # Connections that a restart of the database has cut are replaced before use.
    pool_pre_ping=True,
    connect_args=LIMITS,
    # Errors are logged; what they were about is nobody's business there.
    hide_parameters=True,
)
# Users are used after their session has ended, so a commit must not empty them.
new_session = async_sessionmaker(engine, expire_on_commit=False)

# Checked for unknown names, so that no answer tells by its time which names exist.
NOBODY = generate_password_hash(secrets.token_hex())


class Base(DeclarativeBase):
    pass


class User(Base):
    __tablename__ = "users"

    # Random, and so never used again. A number may come back after its user was
    # deleted, and tokens of the deleted user would be good for the new one.
    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    name: Mapped[str] = mapped_column(String(80), unique=True)
    password_hash: Mapped[str]


@app.while_serving
async def database() -> AsyncGenerator[None, None]:
    # Fine to begin with; a tool such as Alembic makes tables, and changes them later.
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    yield
    await engine.dispose()


@jwt.user_identity_loader
def identity_of(user: User) -> str:
    """What goes into ``sub``, which must be a string (RFC 7519, section 4.1.2)."""
    return user.id


@jwt.user_loader_callback_loader
async def load_user(identity: str) -> User | None:
    """The user of a request; without one, the answer is 401."""
    async with new_session() as session:
        return await session.get(User, identity)


@app.errorhandler(OSError)
# An OSError itself only since Python 3.11.
@app.errorhandler(asyncio.TimeoutError)
@app.errorhandler(SQLAlchemyError)
async def database_is_away(error: Exception) -> ResponseReturnValue:
    """Answer where a user cannot be loaded; no view runs then."""
    app.logger.error("The database does not answer: %s", error)
    return {"msg": "Users cannot be looked up now, try again later"}, 503


@app.errorhandler(BadRequest)
async def bad_request(error: BadRequest) -> ResponseReturnValue:
    return {"msg": error.description}, 400


@app.errorhandler(UnicodeError)
async def bad_text(error: UnicodeError) -> ResponseReturnValue:
    """Answer a body that is not UTF-8, and a string in JSON that cannot become it."""
    return {"msg": "Send text in UTF-8"}, 400


async def read_credentials() -> tuple[str, str]:
    """Name and password from the JSON of the request."""
    match await request.get_json(silent=True):
        # PostgreSQL refuses zero characters, and nobody sees others that do not print.
        case {"username": str(name), "password": str(password)} if name.isprintable():
            if 0 < len(name) <= 80:
                return name, password
    raise BadRequest("Send JSON with a username of 1 to 80 characters and a password")


@app.post("/register")
async def register() -> ResponseReturnValue:
    name, password = await read_credentials()
    if len(password) < 8:
        raise BadRequest("The password needs 8 characters or more")
    # The hash is slow on purpose. In a thread it does not hold up the other requests.
    password_hash = await asyncio.to_thread(generate_password_hash, password)
    user = User(id=str(uuid.uuid4()), name=name, password_hash=password_hash)
    try:
        async with new_session.begin() as session:
            session.add(user)
    except IntegrityError:
        # To ask first would not do: another request may take the name after that.
        return {"msg": "This name is taken"}, 409
    return {"id": user.id, "username": user.name}, 201


@app.post("/login")
async def login() -> ResponseReturnValue:
    name, password = await read_credentials()
    async with new_session() as session:
        user = await session.scalar(select(User).where(User.name == name))
    expected = user.password_hash if user else NOBODY
    matches = await asyncio.to_thread(check_password_hash, expected, password)
    if user is None or not matches:
        return {"msg": "Wrong username or password"}, 401
    return {"access_token": create_access_token(user, fresh=True)}


@app.get("/me")
@jwt_required
async def me() -> ResponseReturnValue:
    return {"id": current_user.id, "username": current_user.name}


@app.delete("/me")
@fresh_jwt_required
async def delete_me() -> ResponseReturnValue:
    """End the tokens of this user as well, since their user is no longer found."""
    async with new_session.begin() as session:
        await session.execute(delete(User).where(User.id == current_user.id))
    return {"msg": "User deleted"}
