"""A WebSocket for people who are logged in, in one file.

Run it with ``python examples/websocket.py`` where the package is installed. It serves
http://127.0.0.1:5000 and prints lines to try. Two environment variables configure it: ``PORT``, and
``JWT_SECRET_KEY``, without which every start makes a new key.

A program sends its token in a header. A page cannot set headers of a WebSocket: it offers the token
as a subprotocol, or its browser sends the cookie by itself, which counts only for pages of this
service and of JWT_WEBSOCKET_ORIGINS. A socket ends with its token; the message "renew <token>" lets
it go on with a new one.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import sys
from typing import Any

from hypercorn.asyncio import serve
from hypercorn.config import Config
from jwt import InvalidTokenError
from quart import Quart, Response, jsonify, request, websocket
from werkzeug.security import check_password_hash, generate_password_hash

from quart_jwt_extended import (
    JWTExtendedException,
    JWTManager,
    MemoryTokenStore,
    create_access_token,
    get_jwt_identity,
    jwt_required,
    renew_websocket,
    revoke_token,
    set_access_cookies,
    unset_jwt_cookies,
)

HOST = "127.0.0.1"

LINES_TO_TRY = """\
# Log in, and keep the token in a shell variable. The answer sets it as a cookie, too.
ACCESS=$(curl -s -H 'Content-Type: application/json' -d '{"username": "alice", "password": "wonderland"}' {url}/login | cut -d '"' -f 4)

# Open the socket as a program does, with a header. The client is the package "websockets".
python -I -c 'import sys; from websockets.sync.client import connect
with connect("{socket_url}/echo", additional_headers={"Authorization": f"Bearer {sys.argv[1]}"}) as socket:
    socket.send("hello"); print(socket.recv())' "$ACCESS"

# Open it as a page does: new WebSocket("{socket_url}/echo", ["bearer", token])
python -I -c 'import sys; from websockets.sync.client import connect
with connect("{socket_url}/echo", subprotocols=["bearer", sys.argv[1]]) as socket:
    socket.send("hello"); print(socket.recv(), "by subprotocol", socket.subprotocol)' "$ACCESS"

# Log out, which revokes the token. The handshake is refused now: 401.
curl -X POST -H "Authorization: Bearer $ACCESS" {url}/logout
python -I -c 'import sys; from websockets.sync.client import connect
try: connect("{socket_url}/echo", subprotocols=["bearer", sys.argv[1]])
except Exception as refusal: print(refusal)' "$ACCESS"
"""  # noqa: E501  a line must be whole to be pasted


def create_app(secret_key: str) -> Quart:
    app = Quart(__name__)
    app.config["JWT_SECRET_KEY"] = secret_key
    app.config["JWT_TOKEN_LOCATION"] = ["headers", "cookies", "websocket_protocol"]
    app.config["JWT_COOKIE_SAMESITE"] = "Lax"
    # Behind HTTPS, as in production, JWT_COOKIE_SECURE = True belongs here.
    # Revoked tokens are kept in memory. Several processes need a store that they share.
    JWTManager(app, token_store=MemoryTokenStore())

    users = {"alice": generate_password_hash("wonderland")}
    # Checked for unknown names, so that the time of an answer does not tell which names exist.
    nobody = generate_password_hash(secrets.token_hex())

    @app.post("/login")
    async def login() -> Any:
        body = await request.get_json(silent=True)
        values = [body.get(key) for key in ("username", "password")] if type(body) is dict else []
        # JSON may hold half characters, which no hash takes. They do not print.
        fields = [value for value in values if isinstance(value, str) and value.isprintable()]
        if len(fields) != 2:
            return {"msg": "Send a JSON object with these strings: username, password"}, 400
        name, password = fields
        # The hash is slow on purpose. In a thread it does not hold up the sockets.
        matches = await asyncio.to_thread(check_password_hash, users.get(name, nobody), password)
        if name not in users or not matches:
            return {"msg": "Wrong username or password"}, 401
        token = create_access_token(name)
        response = jsonify(access_token=token)
        set_access_cookies(response, token)
        return response

    @app.post("/logout")
    @jwt_required
    async def logout() -> Response:
        await revoke_token()
        response = jsonify(msg="Access token revoked")
        unset_jwt_cookies(response)
        return response

    @app.websocket("/echo")
    @jwt_required(close_with_token=True)
    async def echo() -> None:
        # The token was verified before the handshake was answered. When it expires, or a logout
        # revokes it, the socket is closed with code 4401, unless the client has sent another one.
        while True:
            match await websocket.receive():
                case str(text) if text.startswith("renew "):
                    try:
                        await renew_websocket(text.removeprefix("renew "))
                    except (InvalidTokenError, JWTExtendedException) as error:
                        await websocket.send_json({"msg": str(error)})
                case text:
                    await websocket.send_json({"user": get_jwt_identity(), "echo": text})

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
    lines = LINES_TO_TRY.replace("{url}", f"http://{HOST}:{port}")
    print(lines.replace("{socket_url}", f"ws://{HOST}:{port}"), flush=True)

    config = Config()
    config.bind = [f"{HOST}:{port}"]
    try:
        # Hypercorn shuts down cleanly on SIGINT and SIGTERM.
        asyncio.run(serve(create_app(secret_key), config))
    except OSError as error:
        sys.exit(f"Cannot serve {HOST}:{port}: {error.strerror}. Choose another port with PORT=...")


if __name__ == "__main__":
    main()
