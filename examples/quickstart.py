"""A service with login, refresh token rotation, fresh tokens and logout, in one file.

Run it with ``make demo``, or with ``python examples/quickstart.py`` where the package is installed.
It serves http://127.0.0.1:5000 and prints the ``curl`` lines to try. Two environment variables
configure it: ``PORT`` and ``JWT_SECRET_KEY``. Without a secret key, each start makes a new one.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import sys
from dataclasses import dataclass
from typing import Any

from hypercorn.asyncio import serve
from hypercorn.config import Config
from quart import Quart, abort, jsonify, request
from werkzeug.security import check_password_hash, generate_password_hash

from quart_jwt_extended import (
    JWTManager,
    MemoryTokenStore,
    SessionTokens,
    create_session,
    current_user,
    jwt_required,
    revoke_session,
    rotate_session,
)

HOST = "127.0.0.1"

CURL_LINES = """\
# Log in and keep both tokens in shell variables. The access token is fresh.
LOGIN=$(curl -s -H 'Content-Type: application/json' -d '{"username": "alice", "password": "wonderland"}' {url}/login)
ACCESS=$(echo "$LOGIN" | cut -d '"' -f 4)
REFRESH=$(echo "$LOGIN" | cut -d '"' -f 8)

# Call the protected view, then the one that requires a fresh token.
curl -H "Authorization: Bearer $ACCESS" {url}/me
curl -X PUT -H "Authorization: Bearer $ACCESS" -H 'Content-Type: application/json' -d '{"email": "alice@example.org"}' {url}/email

# Refresh: get new tokens without the password. The new access token is not fresh, so the last line
# answers 401.
AGAIN=$(curl -s -X POST -H "Authorization: Bearer $REFRESH" {url}/refresh)
LATER=$(echo "$AGAIN" | cut -d '"' -f 4)
REFRESH=$(echo "$AGAIN" | cut -d '"' -f 8)
curl -X PUT -H "Authorization: Bearer $LATER" -H 'Content-Type: application/json' -d '{"email": "alice@example.net"}' {url}/email

# Log out. No token of this login is valid any more, so the last two lines answer 401.
curl -X POST -H "Authorization: Bearer $LATER" {url}/logout
curl -H "Authorization: Bearer $ACCESS" {url}/me
curl -X POST -H "Authorization: Bearer $REFRESH" {url}/refresh
"""  # noqa: E501  a line must be whole to be pasted


@dataclass
class User:
    name: str
    password_hash: str
    email: str


async def read_fields(*names: str) -> list[str]:
    """Read strings from the JSON object in the request body; answer 400 to any other body."""
    body = await request.get_json(silent=True)
    values = [body.get(name) for name in names] if isinstance(body, dict) else []
    # JSON may contain lone surrogates, which cannot be hashed. They are not printable.
    fields = [value for value in values if isinstance(value, str) and value.isprintable()]
    if len(fields) != len(names):
        response = jsonify(msg=f"Send a JSON object with these strings: {', '.join(names)}")
        response.status_code = 400
        abort(response)
    return fields


def as_json(tokens: SessionTokens) -> dict[str, str]:
    return {"access_token": tokens.access_token, "refresh_token": tokens.refresh_token}


def create_app(secret_key: str) -> Quart:
    app = Quart(__name__)
    app.config["JWT_SECRET_KEY"] = secret_key
    app.config["JWT_IDENTITY_CLAIM"] = "sub"
    # Sessions are kept in memory. With several processes, use Redis or a database instead.
    jwt = JWTManager(app, token_store=MemoryTokenStore())

    alice = User("alice", generate_password_hash("wonderland"), "alice@example.com")
    users = {alice.name: alice}
    # Checked for unknown names, so that response times do not reveal which names exist.
    nobody = User("", generate_password_hash(secrets.token_hex()), "")

    @jwt.user_lookup_loader
    def load_user(_header: dict[str, Any], claims: dict[str, Any]) -> User | None:
        return users.get(claims["sub"])

    @app.post("/login")
    async def login() -> Any:
        name, password = await read_fields("username", "password")
        user = users.get(name, nobody)
        # The hash is slow on purpose. In a thread, it does not block other requests.
        matches = await asyncio.to_thread(check_password_hash, user.password_hash, password)
        if user is nobody or not matches:
            return {"msg": "Wrong username or password"}, 401
        return as_json(await create_session(user.name, fresh=True))

    @app.post("/refresh")
    @jwt_required(refresh=True)
    async def refresh() -> Any:
        return as_json(await rotate_session())

    @app.get("/me")
    @jwt_required
    async def me() -> Any:
        return {"username": current_user.name, "email": current_user.email}

    @app.put("/email")
    @jwt_required(fresh=True)
    async def change_email() -> Any:
        (current_user.email,) = await read_fields("email")
        return {"email": current_user.email}

    @app.post("/logout")
    @jwt_required
    async def logout() -> Any:
        await revoke_session()
        return {"msg": "Logged out"}

    return app


def main() -> None:
    port = os.environ.get("PORT", "5000")
    if not port.isdecimal():
        sys.exit(f"PORT must be a number, not {port!r}")

    secret_key = os.environ.get("JWT_SECRET_KEY")
    if secret_key:
        print("Tokens are signed with JWT_SECRET_KEY from the environment.")
    else:
        secret_key = secrets.token_hex(32)
        print("JWT_SECRET_KEY is not set: a key was made for this run, and tokens end with it.")
    print("Try these lines in another shell; Ctrl-C here stops the service.\n")
    print(CURL_LINES.replace("{url}", f"http://{HOST}:{port}"), flush=True)

    config = Config()
    config.bind = [f"{HOST}:{port}"]
    try:
        # Hypercorn shuts down cleanly on SIGINT and SIGTERM.
        asyncio.run(serve(create_app(secret_key), config))
    except OSError as error:
        sys.exit(f"Cannot serve {HOST}:{port}: {error.strerror}. Choose another port with PORT=...")


if __name__ == "__main__":
    main()
