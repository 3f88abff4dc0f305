"""Revoked tokens, remembered in a database: for a service that has one anyway.

While the database is away, requests with a token are answered 503, so that no revoked
one gets in.

Run it with ``hypercorn examples/revoking_in_database:app``; the environment variable
JWT_SECRET_KEY holds a secret of 32 random bytes or more. The database is SQLite, in the
file revoked.db, through aiosqlite, or what DATABASE_URL says, such as
``postgresql+asyncpg://user:password@host/database``. It needs the packages
sqlalchemy[asyncio] and aiosqlite, or asyncpg for PostgreSQL.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncGenerator
from typing import Any

from quart import Quart, request
from quart.typing import ResponseReturnValue
from sqlalchemy import BigInteger, String, delete
from sqlalchemy.exc import IntegrityError, SQLAlchemyError
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from passwords import check_password
from quart_jwt_extended import (
    JWTManager,
    create_access_token,
    create_refresh_token,
    get_jwt_identity,
    get_raw_jwt,
    jwt_refresh_token_required,
    jwt_required,
)

app = Quart(__name__)
app.config["JWT_SECRET_KEY"] = os.environ["JWT_SECRET_KEY"]
app.config["JWT_BLACKLIST_ENABLED"] = True
jwt = JWTManager(app)

DATABASE_URL = os.environ.get("DATABASE_URL", "sqlite+aiosqlite:///revoked.db")
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
new_session = async_sessionmaker(engine)

# Seconds that an entry outlives its token, since clocks differ. A JWT_DECODE_LEEWAY
# would have to be added.
MARGIN = 60


class Base(DeclarativeBase):
    pass


class RevokedToken(Base):
    __tablename__ = "revoked_tokens"

    jti: Mapped[str] = mapped_column(String(36), primary_key=True)
    # The ``exp`` of the token; NULL: it never expires.
    expires: Mapped[int | None] = mapped_column(BigInteger, index=True)


@app.while_serving
async def database() -> AsyncGenerator[None, None]:
    # Fine to begin with; a tool such as Alembic makes tables, and changes them later.
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    yield
    await engine.dispose()


async def revoke(claims: dict[str, Any]) -> None:
    """Refuse the token that has these claims from now on."""
    try:
        async with new_session.begin() as session:
            session.add(RevokedToken(jti=claims["jti"], expires=claims.get("exp")))
    except IntegrityError:
        return  # Another request has revoked it in the meantime.
    async with new_session.begin() as session:
        long_expired = RevokedToken.expires < int(time.time()) - MARGIN
        await session.execute(delete(RevokedToken).where(long_expired))


@jwt.token_in_blacklist_loader
async def is_revoked(claims: dict[str, Any]) -> bool:
    async with new_session() as session:
        return await session.get(RevokedToken, claims["jti"]) is not None


@app.errorhandler(OSError)
# An OSError itself only since Python 3.11.
@app.errorhandler(asyncio.TimeoutError)
@app.errorhandler(SQLAlchemyError)
async def database_is_away(error: Exception) -> ResponseReturnValue:
    """Answer where nobody knows whether a token is revoked; no view runs then."""
    app.logger.error("The database does not answer: %s", error)
    answer = {"msg": "Tokens cannot be checked now, try again later"}
    return answer, 503, {"Retry-After": "5"}


@app.post("/login")
async def login() -> ResponseReturnValue:
    match await request.get_json(silent=True):
        case {"username": str(name), "password": str(password)}:
            if await check_password(name, password):
                return {
                    "access_token": create_access_token(name),
                    "refresh_token": create_refresh_token(name),
                }
    return {"msg": "Wrong username or password"}, 401


@app.post("/refresh")
@jwt_refresh_token_required
async def refresh() -> ResponseReturnValue:
    return {"access_token": create_access_token(get_jwt_identity())}


@app.get("/me")
@jwt_required
async def me() -> ResponseReturnValue:
    return {"username": get_jwt_identity()}


@app.post("/logout")
@jwt_required(verify_type=False)
async def logout() -> ResponseReturnValue:
    """Revoke the token that is sent; a client calls this with each of its two."""
    await revoke(get_raw_jwt())
    return {"msg": "Token revoked"}
