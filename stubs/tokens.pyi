import json
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any, Literal

def encode_access_token(
    identity: Any,
    secret: Any,
    algorithm: str,
    expires_delta: timedelta | Literal[False] | None,
    fresh: bool | timedelta,
    user_claims: Any,
    csrf: bool,
    identity_claim_key: str,
    user_claims_key: str,
    json_encoder: type[json.JSONEncoder] | None = None,
    headers: Mapping[str, Any] | None = None,
    issuer: str | None = None,
) -> str: ...
def encode_refresh_token(
    identity: Any,
    secret: Any,
    algorithm: str,
    expires_delta: timedelta | Literal[False] | None,
    user_claims: Any,
    csrf: bool,
    identity_claim_key: str,
    user_claims_key: str,
    json_encoder: type[json.JSONEncoder] | None = None,
    headers: Mapping[str, Any] | None = None,
) -> str: ...
def decode_jwt(
    encoded_token: str | bytes,
    secret: Any,
    algorithms: Iterable[str],
    identity_claim_key: str,
    user_claims_key: str,
    csrf_value: str | None = None,
    audience: str | Iterable[str] | None = None,
    leeway: float | timedelta = 0,
    allow_expired: bool = False,
    issuer: str | Iterable[str] | None = None,
) -> dict[str, Any]: ...
