from quart_jwt_extended import (
    CSRFError as CSRFError,
    FreshTokenRequired as FreshTokenRequired,
    InvalidHeaderError as InvalidHeaderError,
    NoAuthorizationError as NoAuthorizationError,
    UserLoadError as UserLoadError,
    decode_token as decode_token,
    fresh_jwt_required as fresh_jwt_required,
    get_unverified_jwt_headers as get_unverified_jwt_headers,
    jwt_exempt as jwt_exempt,
    jwt_optional as jwt_optional,
    jwt_refresh_token_required as jwt_refresh_token_required,
    jwt_required as jwt_required,
    protect as protect,
    verify_fresh_jwt_in_request as verify_fresh_jwt_in_request,
    verify_jwt_in_request as verify_jwt_in_request,
    verify_jwt_in_request_optional as verify_jwt_in_request_optional,
    verify_jwt_refresh_token_in_request as verify_jwt_refresh_token_in_request,
)
from quart_jwt_extended.config import config as config
from quart_jwt_extended.utils import (
    has_user_loader as has_user_loader,
    user_loader as user_loader,
    verify_token_claims as verify_token_claims,
    verify_token_not_blacklisted as verify_token_not_blacklisted,
    verify_token_type as verify_token_type,
)
