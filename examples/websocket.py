"""A WebSocket for logged-in users, in one file.

Run it with ``python examples/websocket.py`` where the package is installed. It serves
http://127.0.0.1:5000 and prints commands to try. Two environment variables configure it: ``PORT``
and ``JWT_SECRET_KEY``. Without a secret key, each start makes a new one.

Programs send their token in a header. Pages cannot set headers of a WebSocket: they offer the token
as a subprotocol, or the browser sends it in a cookie. A cookie is only accepted from pages of this
service or of ``JWT_WEBSOCKET_ORIGINS``. The socket is closed when its token expires or is revoked,
unless the client sends a new token in the message "renew <token>".
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

COMMANDS = """\
# Log in and keep the token in a shell variable. The response also sets it in a cookie.
ACCESS=$(curl -s -H 'Content-Type: application/json' -d '{"username": "alice", "password": "wonderland"}' {url}/login | cut -d '"' -f 4)

# Open the socket as a program does, with a header. This requires the package "websockets".
python -I -c 'import sys; from websockets.sync.client import connect
with connect("{socket_url}/echo", additional_headers={"Authorization": f"Bearer {sys.argv[1]}"}) as socket:
    socket.send("hello"); print(socket.recv())' "$ACCESS"

# Open it as a page does: new WebSocket("{socket_url}/echo", ["bearer", token])
python -I -c 'import sys; from websockets.sync.client import connect
with connect("{socket_url}/echo", subprotocols=["bearer", sys.argv[1]]) as socket:
    socket.send("hello"); print(socket.recv(), "by subprotocol", socket.subprotocol)' "$ACCESS"

# Log out, which revokes the token. The handshake is then rejected with 401.
curl -X POST -H "Authorization: Bearer $ACCESS" {url}/logout
python -I -c 'import sys; from websockets.sync.client import connect
try: connect("{socket_url}/echo", subprotocols=["bearer", sys.argv[1]])
except Exception as error: print(error)' "$ACCESS"
"""  # noqa: E501  a line must be whole to be pasted


def create_app(secret_key: str) -> Quart:
    app = Quart(__name__)
    app.config["JWT_SECRET_KEY"] = secret_key
    app.config["JWT_IDENTITY_CLAIM"] = "sub"
    app.config["JWT_TOKEN_LOCATION"] = ["headers", "cookies", "websocket_protocol"]
    app.config["JWT_COOKIE_SAMESITE"] = "Lax"
    # In production, behind HTTPS, also set JWT_COOKIE_SECURE to True.
    # Revocations are kept in memory. With several processes, use Redis or a database instead.
    JWTManager(app, token_store=MemoryTokenStore())

    password_hashes = {"alice": generate_password_hash("wonderland")}
    # Checked for unknown names, so that response times do not reveal which names exist.
    dummy_hash = generate_password_hash(secrets.token_hex())

    @app.post("/login")
    async def login() -> Any:
        match await request.get_json(silent=True):
            # JSON may contain lone surrogates, which cannot be hashed. They are not printable.
            case {"username": str(name), "password": str(password)} if password.isprintable():
                password_hash = password_hashes.get(name, dummy_hash)
                # The hash is slow on purpose. In a thread, it does not block the sockets.
                matches = await asyncio.to_thread(check_password_hash, password_hash, password)
                if matches and name in password_hashes:
                    token = create_access_token(name)
                    response = jsonify(access_token=token)
                    set_access_cookies(response, token)
                    return response
        return {"msg": "Wrong username or password"}, 401

    @app.post("/logout")
    @jwt_required
    async def logout() -> Response:
        await revoke_token()
        response = jsonify(msg="Logged out")
        unset_jwt_cookies(response)
        return response

    @app.websocket("/echo")
    @jwt_required(close_with_token=True)
    async def echo() -> None:
        # The token was verified before the handshake was accepted. When it expires or is revoked,
        # the socket is closed with code 4401, unless the client has sent a new token.
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
    commands = COMMANDS.replace("{url}", f"http://{HOST}:{port}")
    print(commands.replace("{socket_url}", f"ws://{HOST}:{port}"), flush=True)

    config = Config()
    config.bind = [f"{HOST}:{port}"]
    try:
        # Hypercorn shuts down cleanly on SIGINT and SIGTERM.
        asyncio.run(serve(create_app(secret_key), config))
    except OSError as error:
        sys.exit(f"Cannot serve {HOST}:{port}: {error.strerror}. Choose another port with PORT=...")


if __name__ == "__main__":
    main()
