"""A service with login, refresh, fresh tokens and logout, in one file.

Run it with ``make demo``, or with ``python examples/quickstart.py`` where the package is installed.
It serves http://127.0.0.1:5000 and prints the ``curl`` lines to try. Two environment variables
configure it: ``PORT``, and ``JWT_SECRET_KEY``, without which every start makes a new key.
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
# Log in; the access token is fresh. Keep both tokens in shell variables.
LOGIN=$(curl -s -H 'Content-Type: application/json' -d '{"username": "alice", "password": "wonderland"}' {url}/login)
ACCESS=$(echo "$LOGIN" | cut -d '"' -f 4)
REFRESH=$(echo "$LOGIN" | cut -d '"' -f 8)

# The protected view, then the one that asks for a fresh token.
curl -H "Authorization: Bearer $ACCESS" {url}/me
curl -X PUT -H "Authorization: Bearer $ACCESS" -H 'Content-Type: application/json' -d '{"email": "alice@example.org"}' {url}/email

# Get new tokens without the password. The access token is not fresh: 401 on the fourth line.
AGAIN=$(curl -s -X POST -H "Authorization: Bearer $REFRESH" {url}/refresh)
LATER=$(echo "$AGAIN" | cut -d '"' -f 4)
REFRESH=$(echo "$AGAIN" | cut -d '"' -f 8)
curl -X PUT -H "Authorization: Bearer $LATER" -H 'Content-Type: application/json' -d '{"email": "alice@example.net"}' {url}/email

# Log out, which ends all tokens of this login. The last two lines are refused: 401.
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
    """Strings from the JSON object in the request body; the answer to any other body is 400."""
    body = await request.get_json(silent=True)
    values = [body.get(name) for name in names] if isinstance(body, dict) else []
    # JSON may hold half characters, which no hash takes. They do not print.
    fields = [value for value in values if isinstance(value, str) and value.isprintable()]
    if len(fields) != len(names):
        refusal = jsonify(msg=f"Send a JSON object with these strings: {', '.join(names)}")
        refusal.status_code = 400
        abort(refusal)
    return fields


def answer(tokens: SessionTokens) -> dict[str, str]:
    return {"access_token": tokens.access_token, "refresh_token": tokens.refresh_token}


def create_app(secret_key: str) -> Quart:
    app = Quart(__name__)
    app.config["JWT_SECRET_KEY"] = secret_key
    # Sessions are kept in memory. A service of several processes needs a store that they share.
    jwt = JWTManager(app, token_store=MemoryTokenStore())

    alice = User("alice", generate_password_hash("wonderland"), "alice@example.com")
    users = {alice.name: alice}
    # Checked for unknown names, so that the time of an answer does not tell which names exist.
    nobody = User("", generate_password_hash(secrets.token_hex()), "")

    @jwt.user_loader_callback_loader
    def load_user(identity: str) -> User | None:
        return users.get(identity)

    @app.post("/login")
    async def login() -> Any:
        name, password = await read_fields("username", "password")
        user = users.get(name, nobody)
        # The hash is slow on purpose. In a thread it does not hold up the other requests.
        matches = await asyncio.to_thread(check_password_hash, user.password_hash, password)
        if user is nobody or not matches:
            return {"msg": "Wrong username or password"}, 401
        return answer(await create_session(user.name, fresh=True))

    @app.post("/refresh")
    @jwt_required(refresh=True)
    async def refresh() -> Any:
        return answer(await rotate_session())

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
