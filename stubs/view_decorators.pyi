from quart_jwt_extended import (
    fresh_jwt_required as fresh_jwt_required,
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
