from quart_jwt_extended import (
    JWTManager as JWTManager,
)
