from quart_jwt_extended import (
    CSRFError as CSRFError,
    FreshTokenRequired as FreshTokenRequired,
    InsufficientScopeError as InsufficientScopeError,
    InvalidHeaderError as InvalidHeaderError,
    JWTDecodeError as JWTDecodeError,
    JWTExtendedException as JWTExtendedException,
    NoAuthorizationError as NoAuthorizationError,
    RevokedTokenError as RevokedTokenError,
    UserClaimsVerificationError as UserClaimsVerificationError,
    UserLoadError as UserLoadError,
    WebSocketOriginError as WebSocketOriginError,
    WrongTokenError as WrongTokenError,
)
