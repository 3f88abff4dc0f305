"""The creating functions, their awaitable twins, and what looks into a token."""

from datetime import timedelta

from quart_jwt_extended import (
    create_access_token,
    create_access_token_async,
    create_refresh_token,
    create_refresh_token_async,
    decode_token,
    decode_token_async,
    get_csrf_token,
    get_jti,
    get_jwks,
    get_unverified_jwt_headers,
)

access = create_access_token(
    "alice", fresh=True, expires_delta=60, user_claims={"role": "admin"}, headers={"kid": "1"}
)
reveal_type(access)
# reveals: str
reveal_type(create_access_token("alice", timedelta(minutes=5), timedelta(hours=1)))
# reveals: str
reveal_type(create_access_token({"id": 1}, expires_delta=False))
# reveals: str
reveal_type(create_refresh_token("alice", timedelta(days=1), {"role": "admin"}, {"kid": "1"}))
# reveals: str

create_access_token("alice", additional_claims={"role": "admin"}, additional_headers={"kid": "1"})
create_refresh_token("alice", additional_claims={"role": "admin"}, additional_headers=None)

reveal_type(decode_token(access))
# reveals: dict[str, Any]
reveal_type(decode_token(b"a.b.c", csrf_value="value", allow_expired=True))
# reveals: dict[str, Any]
reveal_type(get_jwks())
# reveals: dict[str, list[dict[str, str]]]
reveal_type(get_jti(access))
# reveals: str | None
reveal_type(get_csrf_token(access))
# reveals: str
reveal_type(get_unverified_jwt_headers(access))
# reveals: dict[str, Any]


async def make() -> None:
    reveal_type(await create_access_token_async("alice", fresh=timedelta(minutes=5)))
    # reveals: str
    await create_access_token_async("alice", additional_claims={}, additional_headers={"kid": "1"})
    await create_refresh_token_async("alice", additional_claims={}, additional_headers={"kid": "1"})
    reveal_type(await create_refresh_token_async("alice", expires_delta=False))
    # reveals: str
    reveal_type(await decode_token_async(access, allow_expired=True))
    # reveals: dict[str, Any]


create_access_token()
# refused: call-arg, reportCallIssue
create_access_token("alice", fresh="yes")
# refused: arg-type, reportArgumentType
create_access_token("alice", expires_delta="1h")
# refused: arg-type, reportArgumentType
create_refresh_token("alice", fresh=True)
# refused: call-arg, reportCallIssue
create_refresh_token("alice", headers=["kid"])
# refused: arg-type, reportArgumentType
create_access_token("alice", additional_claims=["role"])
# refused: arg-type, reportArgumentType
create_refresh_token("alice", additional_headers="kid")
# refused: arg-type, reportArgumentType
decode_token(None)
# refused: arg-type, reportArgumentType
decode_token("a.b.c", csrf_value=b"value")
# refused: arg-type, reportArgumentType
