"""The import paths of 0.1.0 are typed, and lead to the same objects as the main module."""

from quart import Quart

import quart_jwt_extended
import quart_jwt_extended.exceptions
from quart_jwt_extended import CSRFError, JWTManager
from quart_jwt_extended.config import config
from quart_jwt_extended.default_callbacks import (
    default_claims_verification_callback,
    default_expired_token_callback,
    default_user_identity_callback,
)
from quart_jwt_extended.exceptions import CSRFError as SameCSRFError
from quart_jwt_extended.exceptions import (
    FreshTokenRequired,
    InsufficientScopeError,
    InvalidHeaderError,
    JWTDecodeError,
    JWTExtendedException,
    NoAuthorizationError,
    RevokedTokenError,
    UserClaimsVerificationError,
    UserLoadError,
    WebSocketOriginError,
    WrongTokenError,
)
from quart_jwt_extended.jwt_manager import JWTManager as SameJWTManager
from quart_jwt_extended.tokens import decode_jwt, encode_access_token, encode_refresh_token
from quart_jwt_extended.utils import (
    create_access_token,
    current_user,
    get_jwt,
    get_jwt_header,
    get_jwt_request_location,
    has_user_loader,
    verify_token_type,
)
from quart_jwt_extended.view_decorators import (
    jwt_exempt,
    jwt_required,
    protect,
    verify_jwt_in_request,
)

error: CSRFError = SameCSRFError("no value")
manager: JWTManager = SameJWTManager()
reveal_type(quart_jwt_extended.exceptions.CSRFError())
# reveals: CSRFError
errors: list[type[JWTExtendedException]] = [
    FreshTokenRequired,
    InsufficientScopeError,
    InvalidHeaderError,
    JWTDecodeError,
    NoAuthorizationError,
    RevokedTokenError,
    UserClaimsVerificationError,
    UserLoadError,
    WebSocketOriginError,
    WrongTokenError,
]
csrf_errors: list[type[CSRFError]] = [WebSocketOriginError]
reveal_type(InsufficientScopeError("Insufficient scope").required)
# reveals: tuple[str, ...]

reveal_type(config.access_expires)
# reveals: timedelta | Literal[False]
reveal_type(config.csrf_protect)
# reveals: bool
reveal_type(config.token_location)
# reveals: tuple[str, ...]
config.csrf_protect = True
# refused: misc, reportAttributeAccessIssue

reveal_type(default_user_identity_callback("alice"))
# reveals: str
reveal_type(default_expired_token_callback({}))
# reveals: tuple[dict[str, str], int]
reveal_type(default_claims_verification_callback({}))
# reveals: bool

access = encode_access_token(
    "alice", "secret", "HS256", None, False, {}, True, "identity", "user_claims"
)
reveal_type(access)
# reveals: str
refresh = encode_refresh_token("alice", "secret", "HS256", False, {}, True, "identity", "claims")
reveal_type(refresh)
# reveals: str
reveal_type(decode_jwt(access, "secret", ["HS256"], "identity", "user_claims", leeway=1))
# reveals: dict[str, Any]

reveal_type(create_access_token("alice"))
# reveals: str
reveal_type(current_user)
# reveals: Any
reveal_type((get_jwt(), get_jwt_header()))
# reveals: tuple[dict[str, Any], dict[str, Any]]
token_location: str | None = get_jwt_request_location()
reveal_type(has_user_loader())
# reveals: bool
verify_token_type({"type": "access"}, "access")
verify_token_type({"type": "access"})
# refused: call-arg, reportCallIssue


protect(Quart(__name__), exempt="login")


@jwt_exempt
async def login() -> str:
    return "token"


@jwt_required
async def view(number: int) -> str:
    await verify_jwt_in_request()
    return str(number)


reveal_type(view)
# reveals: (number: int) -> Coroutine[Any, Any, str]
