"""How routes are protected, for tools: protection_of, Protection and describe."""

from quart import Blueprint, Quart

from quart_jwt_extended import JWTManager, Protection, protection_of

app = Quart(__name__)
jwt = JWTManager(app)
reveal_type(jwt.describe(app))
# reveals: None
jwt.describe(Blueprint("part", __name__))
# refused: arg-type, reportArgumentType

found = protection_of(app, "page", "GET")
print(found.fresh)
# refused: union-attr, reportOptionalMemberAccess

protection: Protection | None = protection_of(app, endpoint="page", method=None)
if protection is not None:
    reveal_type(protection.token_type)
    # mypy reveals: Literal['access'] | Literal['refresh'] | None
    # pyright reveals: Literal['access', 'refresh'] | None
    reveal_type(protection.optional)
    # reveals: bool
    reveal_type(protection.fresh)
    # reveals: bool
    reveal_type(protection.scopes)
    # reveals: tuple[str, ...]
    if protection.locations[0] == "header":
        # refused: comparison-overlap, reportUnnecessaryComparison
        print("mistyped")
    reveal_type(protection.skip_revocation_check)
    # reveals: bool
    reveal_type(protection.close_with_token)
    # reveals: bool
    reveal_type(protection.issuers)
    # reveals: tuple[str, ...] | None
    reveal_type(protection._asdict())
    # reveals: dict[str, Any]
    protection.optional = True
    # refused: misc, reportAttributeAccessIssue

protection_of(Blueprint("part", __name__), "page")
# refused: arg-type, reportArgumentType
protection_of(app, "page", ["GET"])
# refused: arg-type, reportArgumentType
protection_of(app)
# refused: call-arg, reportCallIssue
