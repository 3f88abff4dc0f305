"""Tokens in cookies, for a page: no script can read them, no other site can use them.

The page is in the folder static; its scripts see a CSRF value for each token, never a
token. Run it with ``hypercorn examples/cookies/app:app``, open http://127.0.0.1:8000
and log in as alice with the password wonderland. The environment variable
JWT_SECRET_KEY holds a secret of 32 random bytes or more; with ACCESS_SECONDS=10 you can
watch how the page renews its access token. Sessions are in memory: a restart ends them.
accounts.py has them in a database or in Redis.
"""

from __future__ import annotations

import asyncio
import os
import secrets

from quart import Quart, Response, jsonify, request, websocket
from quart.typing import ResponseReturnValue
from werkzeug.security import check_password_hash, generate_password_hash

from quart_jwt_extended import (
    JWTManager,
    MemoryTokenStore,
    create_session,
    get_jwt_identity,
    jwt_required,
    revoke_session,
    rotate_session,
    set_session_cookies,
    unset_jwt_cookies,
)

app = Quart(__name__)
app.config["JWT_SECRET_KEY"] = os.environ["JWT_SECRET_KEY"]
app.config["JWT_ACCESS_TOKEN_EXPIRES"] = int(os.environ.get("ACCESS_SECONDS", "900"))
app.config["JWT_TOKEN_LOCATION"] = "cookies"
# Requests that come from other sites carry no cookies. The page itself needs none.
app.config["JWT_COOKIE_SAMESITE"] = "Strict"
# The refresh token goes to /token/refresh, and stays out of every other request.
app.config["JWT_REFRESH_COOKIE_PATH"] = "/token"
# Behind HTTPS, as in production, JWT_COOKIE_SECURE = True belongs here.
jwt = JWTManager(app, token_store=MemoryTokenStore())

# Scripts and styles only from files of this service, and no other site around it.
POLICY = "default-src 'self'; form-action 'none'; frame-ancestors 'none'"

PASSWORDS = {"alice": generate_password_hash("wonderland")}
# Checked for unknown names, so that no answer tells by its time which names exist.
NO_PASSWORD = generate_password_hash(secrets.token_hex())

notes: dict[str, list[str]] = {"alice": ["Follow the rabbit"]}


async def check_password(name: str, password: str) -> bool:
    """In a thread: the hash is slow on purpose, and other requests need not wait."""
    known = PASSWORDS.get(name, NO_PASSWORD)
    matches = await asyncio.to_thread(check_password_hash, known, password)
    return matches and name in PASSWORDS


@app.after_request
async def add_policy(response: Response) -> Response:
    response.headers["Content-Security-Policy"] = POLICY
    return response


@app.get("/")
async def page() -> Response:
    return await app.send_static_file("index.html")


@app.post("/login")
async def login() -> ResponseReturnValue:
    """It takes JSON only, which a form of another site cannot send."""
    match await request.get_json(silent=True):
        case {"username": str(name), "password": str(password)}:
            # JSON may hold half characters, which no hash takes. They do not print.
            if password.isprintable() and await check_password(name, password):
                response = jsonify(username=name)
                set_session_cookies(response, await create_session(name))
                return response
    return {"msg": "Wrong username or password"}, 401


@app.post("/token/refresh")
@jwt_required(refresh=True)
async def refresh() -> Response:
    response = jsonify(username=get_jwt_identity())
    set_session_cookies(response, await rotate_session())
    return response


@app.post("/logout")
@jwt_required
async def logout() -> Response:
    """The session ends, with all copies of its tokens, and the browser forgets them."""
    await revoke_session()
    response = jsonify(msg="Logged out")
    unset_jwt_cookies(response)
    return response


@app.get("/me")
@jwt_required
async def me() -> ResponseReturnValue:
    return {"username": get_jwt_identity(), "notes": notes[get_jwt_identity()]}


@app.post("/notes")
@jwt_required
async def add_note() -> ResponseReturnValue:
    match await request.get_json(silent=True):
        case {"text": str(text)}:
            notes[get_jwt_identity()].append(text)
            return {"notes": notes[get_jwt_identity()]}, 201
    return {"msg": "Send a text"}, 400


@app.websocket("/echo")
@jwt_required(close_with_token=True)
async def echo() -> None:
    """The browser sends the cookie here too; pages of other origins are refused."""
    while True:
        text = await websocket.receive()
        await websocket.send_json({"username": get_jwt_identity(), "text": text})
