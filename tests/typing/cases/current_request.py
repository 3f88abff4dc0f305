"""What a view may ask about its token and its user, and the cookies that it sets."""

from typing import Literal

from quart import Response, jsonify, make_response

from quart_jwt_extended import (
    current_user,
    get_current_user,
    get_jwt,
    get_jwt_claims,
    get_jwt_header,
    get_jwt_identity,
    get_jwt_request_location,
    get_raw_jwt,
    get_raw_jwt_header,
    set_access_cookies,
    set_refresh_cookies,
    unset_access_cookies,
    unset_jwt_cookies,
    unset_refresh_cookies,
)


class User:
    name: str


reveal_type(current_user)
# reveals: Any
user: User = current_user
name: str = current_user.name

reveal_type(get_current_user())
# reveals: Any
reveal_type(get_jwt_identity())
# reveals: Any
reveal_type(get_jwt_claims())
# reveals: dict[str, Any]
reveal_type(get_raw_jwt())
# reveals: dict[str, Any]
reveal_type(get_raw_jwt_header())
# reveals: dict[str, Any]

reveal_type(get_jwt())
# reveals: dict[str, Any]
reveal_type(get_jwt_header())
# reveals: dict[str, Any]
location: Literal["headers", "cookies", "query_string", "json", "websocket_protocol"] | None = (
    get_jwt_request_location()
)
if location == "websocket_protocol":
    name = "socket"
if location == "query-string":
    # refused: comparison-overlap, reportUnnecessaryComparison
    name = "url"

response: Response = jsonify(ok=True)
reveal_type(set_access_cookies(response, "a.b.c"))
# reveals: None
set_access_cookies(response, "a.b.c", max_age=60)
set_refresh_cookies(response, encoded_refresh_token="a.b.c", max_age=None)
unset_jwt_cookies(response)
unset_access_cookies(response)
unset_refresh_cookies(response)
set_access_cookies(response, "a.b.c", domain="example.com")
set_refresh_cookies(response, "a.b.c", domain=None)
unset_jwt_cookies(response, domain="example.com")
unset_access_cookies(response, "example.com")
unset_refresh_cookies(response, domain="example.com")


async def log_in() -> None:
    made = await make_response("ok")
    set_access_cookies(made, "a.b.c")
    unset_jwt_cookies(made)


set_access_cookies("response", "a.b.c")
# refused: arg-type, reportArgumentType
set_access_cookies(response, b"a.b.c")
# refused: arg-type, reportArgumentType
set_refresh_cookies(response, "a.b.c", max_age="60")
# refused: arg-type, reportArgumentType
unset_jwt_cookies()
# refused: call-arg, reportCallIssue
unset_access_cookies({"ok": True})
# refused: arg-type, reportArgumentType
unset_refresh_cookies(None)
# refused: arg-type, reportArgumentType
set_access_cookies(response, "a.b.c", domain=True)
# refused: arg-type, reportArgumentType
unset_jwt_cookies(response, domain=1)
# refused: arg-type, reportArgumentType
