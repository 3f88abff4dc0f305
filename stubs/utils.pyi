from typing import Any

from quart_jwt_extended import (
    RevokedTokenError as RevokedTokenError,
    UserClaimsVerificationError as UserClaimsVerificationError,
    WrongTokenError as WrongTokenError,
    create_access_token as create_access_token,
    create_refresh_token as create_refresh_token,
    current_user as current_user,
    decode_token as decode_token,
    get_csrf_token as get_csrf_token,
    get_current_user as get_current_user,
    get_jti as get_jti,
    get_jwt as get_jwt,
    get_jwt_claims as get_jwt_claims,
    get_jwt_header as get_jwt_header,
    get_jwt_identity as get_jwt_identity,
    get_jwt_request_location as get_jwt_request_location,
    get_raw_jwt as get_raw_jwt,
    get_raw_jwt_header as get_raw_jwt_header,
    get_unverified_jwt_headers as get_unverified_jwt_headers,
    set_access_cookies as set_access_cookies,
    set_refresh_cookies as set_refresh_cookies,
    unset_access_cookies as unset_access_cookies,
    unset_jwt_cookies as unset_jwt_cookies,
    unset_refresh_cookies as unset_refresh_cookies,
    verify_token as verify_token,
)
from quart_jwt_extended.config import config as config
from quart_jwt_extended.tokens import decode_jwt as decode_jwt

def has_user_loader() -> bool: ...
def user_loader(identity: Any) -> Any: ...
def has_token_in_blacklist_callback() -> bool: ...
def token_in_blacklist(decoded_token: dict[str, Any]) -> Any: ...
def verify_token_claims(jwt_data: dict[str, Any]) -> None: ...
def verify_token_not_blacklisted(decoded_token: dict[str, Any], request_type: str) -> None: ...
def verify_token_type(decoded_token: dict[str, Any], expected_type: str) -> None: ...
