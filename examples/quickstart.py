"""A service with login, refresh, fresh tokens and logout, in one file.

Run it with ``make demo``, or with ``python examples/quickstart.py`` where the package is installed.
It serves http://127.0.0.1:5000 and prints the ``curl`` lines to try. Two environment variables
configure it: ``PORT``, and ``JWT_SECRET_KEY``, without which every start makes a new key.
"""

from __future__ import annotations

import asyncio
import heapq
import math
import os
import secrets
import sys
import time
from dataclasses import dataclass
from typing import Any

from hypercorn.asyncio import serve
from hypercorn.config import Config
from quart import Quart, abort, jsonify, request
from werkzeug.security import check_password_hash, generate_password_hash

from quart_jwt_extended import (
    JWTManager,
    create_access_token,
    create_refresh_token,
    current_user,
    fresh_jwt_required,
    get_jwt_identity,
    get_raw_jwt,
    jwt_refresh_token_required,
    jwt_required,
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

# Get another access token without the password. It is not fresh: 401 on the second line.
LATER=$(curl -s -X POST -H "Authorization: Bearer $REFRESH" {url}/refresh | cut -d '"' -f 4)
curl -X PUT -H "Authorization: Bearer $LATER" -H 'Content-Type: application/json' -d '{"email": "alice@example.net"}' {url}/email

# Log out, which revokes one token at a time. The last two lines are refused: 401.
curl -X POST -H "Authorization: Bearer $ACCESS" {url}/logout
curl -X POST -H "Authorization: Bearer $REFRESH" {url}/logout/refresh
curl -H "Authorization: Bearer $ACCESS" {url}/me
curl -X POST -H "Authorization: Bearer $REFRESH" {url}/refresh
"""  # noqa: E501  a line must be whole to be pasted


@dataclass
class User:
    name: str
    password_hash: str
    email: str


class Blacklist:
    """The ``jti`` of every revoked token, dropped once its token has expired anyway.

    It lives as long as the process. A service of several processes needs a store that they share,
    and may make the callback that reads it ``async def``.
    """

    def __init__(self) -> None:
        self._revoked: set[str] = set()
        self._by_expiry: list[tuple[float, str]] = []

    def __contains__(self, jti: str) -> bool:
        return jti in self._revoked

    def add(self, claims: dict[str, Any]) -> None:
        """Revoke the token that has these claims."""
        while self._by_expiry and self._by_expiry[0][0] <= time.time():
            self._revoked.discard(heapq.heappop(self._by_expiry)[1])
        self._revoked.add(claims["jti"])
        heapq.heappush(self._by_expiry, (claims.get("exp", math.inf), claims["jti"]))


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


def create_app(secret_key: str) -> Quart:
    app = Quart(__name__)
    app.config["JWT_SECRET_KEY"] = secret_key
    app.config["JWT_BLACKLIST_ENABLED"] = True
    jwt = JWTManager(app)

    alice = User("alice", generate_password_hash("wonderland"), "alice@example.com")
    users = {alice.name: alice}
    # Checked for unknown names, so that the time of an answer does not tell which names exist.
    nobody = User("", generate_password_hash(secrets.token_hex()), "")
    blacklist = Blacklist()

    @jwt.token_in_blacklist_loader
    def is_revoked(claims: dict[str, Any]) -> bool:
        return claims["jti"] in blacklist

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
        return {
            "access_token": create_access_token(user.name, fresh=True),
            "refresh_token": create_refresh_token(user.name),
        }

    @app.post("/refresh")
    @jwt_refresh_token_required
    async def refresh() -> Any:
        return {"access_token": create_access_token(get_jwt_identity())}

    @app.get("/me")
    @jwt_required
    async def me() -> Any:
        return {"username": current_user.name, "email": current_user.email}

    @app.put("/email")
    @fresh_jwt_required
    async def change_email() -> Any:
        (current_user.email,) = await read_fields("email")
        return {"email": current_user.email}

    @app.post("/logout")
    @jwt_required
    async def logout() -> Any:
        blacklist.add(get_raw_jwt())
        return {"msg": "Access token revoked"}

    @app.post("/logout/refresh")
    @jwt_refresh_token_required
    async def logout_refresh() -> Any:
        blacklist.add(get_raw_jwt())
        return {"msg": "Refresh token revoked"}

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
