"""Tokens in cookies, for a web page. Scripts cannot read them, and other sites cannot use them.

The page is in the folder static. Its script sees the CSRF value of each token, but never a token.

Run it with ``hypercorn examples/cookies/app:app``, open http://127.0.0.1:8000 and log in as alice
with the password wonderland. The environment variable ``JWT_SECRET_KEY`` must contain a secret of
at least 32 random bytes. Set ``ACCESS_SECONDS=10`` to watch the page renew its access token.

Sessions are stored in memory, so a restart ends them. accounts.py stores them in a database or in
Redis.
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
app.config["JWT_IDENTITY_CLAIM"] = "sub"
app.config["JWT_TOKEN_LOCATION"] = "cookies"
# Browsers do not send the cookies with requests from other sites.
app.config["JWT_COOKIE_SAMESITE"] = "Strict"
# Browsers send the refresh token only to paths below /token.
app.config["JWT_REFRESH_COOKIE_PATH"] = "/token"
# In production, behind HTTPS, also set JWT_COOKIE_SECURE to True.
jwt = JWTManager(app, token_store=MemoryTokenStore())

# Scripts and styles must be files of this service, and no page may embed this one in a frame.
POLICY = "default-src 'self'; form-action 'none'; frame-ancestors 'none'"

PASSWORD_HASHES = {"alice": generate_password_hash("wonderland")}
# Checked for unknown names, so that response times do not reveal which names exist.
DUMMY_HASH = generate_password_hash(secrets.token_hex())

notes: dict[str, list[str]] = {"alice": ["Follow the rabbit"]}


async def check_password(name: str, password: str) -> bool:
    # JSON may contain lone surrogates, which cannot be hashed. They are not printable.
    if not password.isprintable():
        return False
    password_hash = PASSWORD_HASHES.get(name, DUMMY_HASH)
    # The hash is slow on purpose. In a thread, it does not block other requests.
    matches = await asyncio.to_thread(check_password_hash, password_hash, password)
    return matches and name in PASSWORD_HASHES


@app.after_request
async def add_policy(response: Response) -> Response:
    response.headers["Content-Security-Policy"] = POLICY
    return response


@app.get("/")
async def page() -> Response:
    return await app.send_static_file("index.html")


@app.post("/login")
async def login() -> ResponseReturnValue:
    """Accept only JSON, which a form on another site cannot send."""
    match await request.get_json(silent=True):
        case {"username": str(name), "password": str(password)}:
            if await check_password(name, password):
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
    """Revoke the session, including copies of its tokens, and delete the cookies."""
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
    return {"msg": "Send a JSON object with this string: text"}, 400


@app.websocket("/echo")
@jwt_required(close_with_token=True)
async def echo() -> None:
    """Echo messages. The browser sends the cookie; pages of other origins are rejected."""
    while True:
        text = await websocket.receive()
        await websocket.send_json({"username": get_jwt_identity(), "text": text})
