"""Every loader refuses callbacks that take or return the wrong thing, async ones too."""

from typing import Any

from quart_jwt_extended import JWTManager

manager = JWTManager()
JWTManager("app")
# refused: arg-type, reportArgumentType
manager.init_app(None)
# refused: arg-type, reportArgumentType


def without_argument() -> Any:
    return None


def with_two(first: Any, second: Any) -> Any:
    return first, second


def with_three(first: Any, second: Any, third: Any) -> Any:
    return first, second, third


def takes_int(value: int) -> Any:
    return value


async def takes_int_async(value: int) -> Any:
    return value


def answers_object(value: Any) -> object:
    return value


async def answers_object_async(value: Any) -> object:
    return value


def answers_object_to_nothing() -> object:
    return object()


async def answers_object_to_nothing_async() -> object:
    return object()


def takes_two_ints(first: int, second: int) -> Any:
    return first, second


async def takes_two_ints_async(first: int, second: int) -> Any:
    return first, second


def answers_object_to_two(first: Any, second: Any) -> object:
    return first, second


async def answers_object_to_two_async(first: Any, second: Any) -> object:
    return first, second


def two_answer_int(claims: Any, header: Any) -> int:
    return 1


async def two_answer_int_async(claims: Any, header: Any) -> int:
    return 1


manager.user_claims_loader(without_argument)
# refused: type-var, reportArgumentType
manager.user_claims_loader(with_two)
# refused: type-var, reportArgumentType

manager.user_identity_loader(without_argument)
# refused: type-var, reportArgumentType
manager.user_identity_loader(with_two)
# refused: type-var, reportArgumentType

manager.user_loader_callback_loader(without_argument)
# refused: type-var, reportArgumentType
manager.user_loader_callback_loader(with_two)
# refused: type-var, reportArgumentType

manager.additional_headers_loader(without_argument)
# refused: type-var, reportArgumentType
manager.additional_headers_loader(answers_object)
# refused: type-var, reportArgumentType
manager.additional_headers_loader(answers_object_async)
# refused: type-var, reportArgumentType

manager.encode_key_loader(without_argument)
# refused: type-var, reportArgumentType
manager.encode_key_loader(answers_object)
# refused: type-var, reportArgumentType
manager.encode_key_loader(answers_object_async)
# refused: type-var, reportArgumentType

manager.decode_key_loader(with_three)
# refused: type-var, reportArgumentType
manager.decode_key_loader(two_answer_int)
# refused: type-var, reportArgumentType
manager.decode_key_loader(two_answer_int_async)
# refused: type-var, reportArgumentType

manager.token_in_blacklist_loader(without_argument)
# refused: type-var, reportArgumentType
manager.token_in_blacklist_loader(takes_int)
# refused: type-var, reportArgumentType
manager.token_in_blacklist_loader(takes_int_async)
# refused: type-var, reportArgumentType
manager.token_in_blacklist_loader(answers_object)
# refused: type-var, reportArgumentType
manager.token_in_blacklist_loader(answers_object_async)
# refused: type-var, reportArgumentType

manager.claims_verification_loader(with_two)
# refused: type-var, reportArgumentType
manager.claims_verification_loader(takes_int)
# refused: type-var, reportArgumentType
manager.claims_verification_loader(takes_int_async)
# refused: type-var, reportArgumentType
manager.claims_verification_loader(answers_object)
# refused: type-var, reportArgumentType
manager.claims_verification_loader(answers_object_async)
# refused: type-var, reportArgumentType

manager.unauthorized_loader(without_argument)
# refused: type-var, reportArgumentType
manager.unauthorized_loader(takes_int)
# refused: type-var, reportArgumentType
manager.unauthorized_loader(takes_int_async)
# refused: type-var, reportArgumentType
manager.unauthorized_loader(answers_object)
# refused: type-var, reportArgumentType
manager.unauthorized_loader(answers_object_async)
# refused: type-var, reportArgumentType

manager.invalid_token_loader(without_argument)
# refused: type-var, reportArgumentType
manager.invalid_token_loader(takes_int)
# refused: type-var, reportArgumentType
manager.invalid_token_loader(takes_int_async)
# refused: type-var, reportArgumentType
manager.invalid_token_loader(answers_object)
# refused: type-var, reportArgumentType
manager.invalid_token_loader(answers_object_async)
# refused: type-var, reportArgumentType

manager.expired_token_loader(with_three)
# refused: type-var, reportArgumentType
manager.expired_token_loader(takes_int)
# refused: type-var, reportArgumentType
manager.expired_token_loader(takes_int_async)
# refused: type-var, reportArgumentType
manager.expired_token_loader(takes_two_ints)
# refused: type-var, reportArgumentType
manager.expired_token_loader(answers_object_to_two)
# refused: type-var, reportArgumentType
manager.expired_token_loader(answers_object)
# refused: type-var, reportArgumentType
manager.expired_token_loader(answers_object_async)
# refused: type-var, reportArgumentType

manager.user_loader_error_loader(without_argument)
# refused: type-var, reportArgumentType
manager.user_loader_error_loader(answers_object)
# refused: type-var, reportArgumentType
manager.user_loader_error_loader(answers_object_async)
# refused: type-var, reportArgumentType

manager.needs_fresh_token_loader(takes_int)
# refused: type-var, reportArgumentType
manager.needs_fresh_token_loader(takes_two_ints)
# refused: type-var, reportArgumentType
manager.needs_fresh_token_loader(answers_object_to_two)
# refused: type-var, reportArgumentType
manager.needs_fresh_token_loader(answers_object_to_nothing)
# refused: type-var, reportArgumentType
manager.needs_fresh_token_loader(answers_object_to_nothing_async)
# refused: type-var, reportArgumentType

manager.revoked_token_loader(takes_int)
# refused: type-var, reportArgumentType
manager.revoked_token_loader(takes_two_ints)
# refused: type-var, reportArgumentType
manager.revoked_token_loader(answers_object_to_two)
# refused: type-var, reportArgumentType
manager.revoked_token_loader(answers_object_to_nothing)
# refused: type-var, reportArgumentType
manager.revoked_token_loader(answers_object_to_nothing_async)
# refused: type-var, reportArgumentType

manager.claims_verification_failed_loader(takes_int)
# refused: type-var, reportArgumentType
manager.claims_verification_failed_loader(answers_object_to_nothing)
# refused: type-var, reportArgumentType
manager.claims_verification_failed_loader(answers_object_to_nothing_async)
# refused: type-var, reportArgumentType

manager.additional_claims_loader(without_argument)
# refused: type-var, reportArgumentType
manager.additional_claims_loader(with_two)
# refused: type-var, reportArgumentType
manager.additional_claims_loader(answers_object)
# refused: type-var, reportArgumentType
manager.additional_claims_loader(answers_object_async)
# refused: type-var, reportArgumentType

manager.token_in_blocklist_loader(takes_int)
# refused: type-var, reportArgumentType
manager.token_in_blocklist_loader(takes_two_ints)
# refused: type-var, reportArgumentType
manager.token_in_blocklist_loader(takes_two_ints_async)
# refused: type-var, reportArgumentType
manager.token_in_blocklist_loader(two_answer_int)
# refused: type-var, reportArgumentType
manager.token_in_blocklist_loader(two_answer_int_async)
# refused: type-var, reportArgumentType
manager.token_in_blocklist_loader(answers_object_to_two)
# refused: type-var, reportArgumentType
manager.token_in_blocklist_loader(answers_object_to_two_async)
# refused: type-var, reportArgumentType

manager.token_verification_loader(takes_int)
# refused: type-var, reportArgumentType
manager.token_verification_loader(takes_two_ints)
# refused: type-var, reportArgumentType
manager.token_verification_loader(takes_two_ints_async)
# refused: type-var, reportArgumentType
manager.token_verification_loader(two_answer_int)
# refused: type-var, reportArgumentType
manager.token_verification_loader(two_answer_int_async)
# refused: type-var, reportArgumentType
manager.token_verification_loader(answers_object_to_two)
# refused: type-var, reportArgumentType
manager.token_verification_loader(answers_object_to_two_async)
# refused: type-var, reportArgumentType

manager.user_lookup_loader(takes_int)
# refused: type-var, reportArgumentType
manager.user_lookup_loader(with_three)
# refused: type-var, reportArgumentType
manager.user_lookup_loader(takes_two_ints)
# refused: type-var, reportArgumentType
manager.user_lookup_loader(takes_two_ints_async)
# refused: type-var, reportArgumentType

manager.user_lookup_error_loader(without_argument)
# refused: type-var, reportArgumentType
manager.user_lookup_error_loader(takes_int)
# refused: type-var, reportArgumentType
manager.user_lookup_error_loader(takes_two_ints)
# refused: type-var, reportArgumentType
manager.user_lookup_error_loader(takes_two_ints_async)
# refused: type-var, reportArgumentType
manager.user_lookup_error_loader(answers_object_to_two)
# refused: type-var, reportArgumentType
manager.user_lookup_error_loader(answers_object_to_two_async)
# refused: type-var, reportArgumentType

manager.token_verification_failed_loader(without_argument)
# refused: type-var, reportArgumentType
manager.token_verification_failed_loader(takes_int)
# refused: type-var, reportArgumentType
manager.token_verification_failed_loader(takes_two_ints)
# refused: type-var, reportArgumentType
manager.token_verification_failed_loader(takes_two_ints_async)
# refused: type-var, reportArgumentType
manager.token_verification_failed_loader(answers_object_to_two)
# refused: type-var, reportArgumentType
manager.token_verification_failed_loader(answers_object_to_two_async)
# refused: type-var, reportArgumentType

manager.insufficient_scope_loader(without_argument)
# refused: type-var, reportArgumentType
manager.insufficient_scope_loader(takes_int)
# refused: type-var, reportArgumentType
manager.insufficient_scope_loader(takes_two_ints)
# refused: type-var, reportArgumentType
manager.insufficient_scope_loader(takes_two_ints_async)
# refused: type-var, reportArgumentType
manager.insufficient_scope_loader(answers_object_to_two)
# refused: type-var, reportArgumentType
manager.insufficient_scope_loader(answers_object_to_two_async)
# refused: type-var, reportArgumentType
