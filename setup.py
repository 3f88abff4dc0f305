"""The build of the one extension module; everything that can be declared is in pyproject.toml.

PEP 561 finds no stub of a single-file module, so the build also makes the package
``quart_jwt_extended-stubs``: the one ``.pyi`` as its ``__init__.pyi``, and one small stub for each
further import path of 0.1.0, from the table below.

``JWT_BUILD`` in the environment makes a slow build for tests, one of :data:`TEST_BUILDS`.
"""

import os
import shutil
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import Cython  # noqa: F401  without it, setuptools would look for a .c instead of failing
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import CompileError, LinkError

NAME = "quart_jwt_extended"


@dataclass
class Build:
    """What a build for tests does otherwise."""

    directives: dict[str, bool] = field(default_factory=dict)
    macros: list[tuple[str, str]] = field(default_factory=list)
    compile_args: list[str] = field(default_factory=list)
    link_args: list[str] = field(default_factory=list)


SANITIZERS = "-fsanitize=address,undefined"

TEST_BUILDS = {
    # Lines that ``coverage`` can trace.
    "coverage": Build(
        directives={"linetrace": True},
        # Python 3.13 would report to sys.monitoring, which coverage's plugins cannot read.
        macros=[("CYTHON_TRACE", "1"), ("CYTHON_USE_SYS_MONITORING", "0")],
    ),
    # A report of AddressSanitizer or UndefinedBehaviorSanitizer ends the process. Python adds
    # -fwrapv, under which a signed overflow would be none.
    "sanitize": Build(
        compile_args=["-O1", "-g", "-fno-omit-frame-pointer", "-fno-wrapv"]
        + [SANITIZERS, "-fno-sanitize-recover"],
        link_args=[SANITIZERS],
    ),
    # The assertions of CPython's headers and of Cython's C code, not optimised away.
    "debug": Build(compile_args=["-O0", "-g", "-UNDEBUG"]),
}

# Tried in their order when the wheel is built; those that the compiler does not know are left out.
# Of each row the first that it takes is used.
HARDENING = [
    [(["-fstack-protector-strong"], [])],
    [(["-U_FORTIFY_SOURCE", f"-D_FORTIFY_SOURCE={level}"], []) for level in (3, 2)],
    [([], ["-Wl,-z,relro,-z,now"])],
    # Calls into libpython without a stub in between: 4 percent of verifying a token.
    [(["-fno-plt"], [])],
]

# Debug information on generated C helps nobody, and is five sixths of the file.
RELEASE = Build(compile_args=["-g0"] if os.name == "posix" else [])

chosen = os.environ.get("JWT_BUILD", "")
if chosen and chosen not in TEST_BUILDS:
    sys.exit(f"JWT_BUILD must be one of {', '.join(TEST_BUILDS)}, not {chosen!r}")
BUILD = TEST_BUILDS[chosen] if chosen else RELEASE


def same_names(*names: str) -> str:
    """A stub whose names are those of the main module."""
    lines = [f"    {name} as {name},\n" for name in names]
    return f"from {NAME} import (\n{''.join(lines)})\n"


def read_only(properties: dict[str, str]) -> str:
    """The body of a stub class: names by the type of their property."""
    return "".join(
        f"    @property\n    def {name}(self) -> {type_name}: ...\n"
        for type_name, names in properties.items()
        for name in names.split()
    )


SUBMODULE_STUBS = {
    "config": """\
import json
from datetime import timedelta
from typing import Any, Literal

class _Config:
"""
    + read_only(
        {
            "Any": "audience csrf_request_methods decode_issuer decode_key encode_key",
            "bool": "blacklist_access_tokens blacklist_enabled blacklist_refresh_tokens"
            " cookie_secure csrf_check_form csrf_in_cookies csrf_protect is_asymmetric"
            " jwt_in_cookies jwt_in_headers jwt_in_json jwt_in_query_string session_cookie"
            " user_claims_in_refresh_token",
            "float | timedelta": "leeway",
            "int | None": "cookie_max_age",
            "list[str]": "decode_algorithms",
            "set[str]": "exempt_methods",
            "str": "access_cookie_name access_csrf_cookie_name access_csrf_field_name"
            " access_csrf_header_name algorithm error_msg_key header_name header_type"
            " identity_claim_key json_key query_string_name refresh_cookie_name"
            " refresh_csrf_cookie_name refresh_csrf_field_name refresh_csrf_header_name"
            " refresh_json_key user_claims_key",
            "str | None": "access_cookie_path access_csrf_cookie_path cookie_domain"
            " cookie_samesite encode_issuer refresh_cookie_path refresh_csrf_cookie_path",
            "timedelta | Literal[False]": "access_expires refresh_expires",
            "tuple[str, ...]": "blacklist_checks token_location",
            "type[json.JSONEncoder]": "json_encoder",
        }
    )
    + """
config: _Config
""",
    "default_callbacks": """\
from typing import Any, TypeVar

_T = TypeVar("_T")

def default_user_claims_callback(userdata: Any) -> dict[str, Any]: ...
def default_jwt_headers_callback(default_headers: Any) -> None: ...
def default_user_identity_callback(userdata: _T) -> _T: ...
def default_expired_token_callback(
    expired_token: dict[str, Any],
) -> tuple[dict[str, str], int]: ...
def default_invalid_token_callback(error_string: str) -> tuple[dict[str, str], int]: ...
def default_unauthorized_callback(error_string: str) -> tuple[dict[str, str], int]: ...
def default_needs_fresh_token_callback() -> tuple[dict[str, str], int]: ...
def default_revoked_token_callback() -> tuple[dict[str, str], int]: ...
def default_user_loader_error_callback(identity: Any) -> tuple[dict[str, str], int]: ...
def default_claims_verification_callback(user_claims: Any) -> bool: ...
def default_verify_claims_failed_callback() -> tuple[dict[str, str], int]: ...
def default_decode_key_callback(claims: dict[str, Any], headers: dict[str, Any]) -> Any: ...
def default_encode_key_callback(identity: Any) -> Any: ...
""",
    "exceptions": same_names(
        "CSRFError",
        "FreshTokenRequired",
        "InsufficientScopeError",
        "InvalidHeaderError",
        "JWTDecodeError",
        "JWTExtendedException",
        "NoAuthorizationError",
        "RevokedTokenError",
        "UserClaimsVerificationError",
        "UserLoadError",
        "WebSocketOriginError",
        "WrongTokenError",
    ),
    "jwt_manager": same_names("JWTManager"),
    "tokens": """\
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
""",
    "utils": same_names(
        "create_access_token",
        "create_refresh_token",
        "current_user",
        "decode_token",
        "get_csrf_token",
        "get_current_user",
        "get_jti",
        "get_jwt",
        "get_jwt_claims",
        "get_jwt_header",
        "get_jwt_identity",
        "get_jwt_request_location",
        "get_raw_jwt",
        "get_raw_jwt_header",
        "get_unverified_jwt_headers",
        "set_access_cookies",
        "set_refresh_cookies",
        "unset_access_cookies",
        "unset_jwt_cookies",
        "unset_refresh_cookies",
    )
    + """\
from typing import Any

def has_user_loader() -> bool: ...
def user_loader(identity: Any) -> Any: ...
def has_token_in_blacklist_callback() -> bool: ...
def token_in_blacklist(decoded_token: dict[str, Any]) -> Any: ...
def verify_token_claims(jwt_data: dict[str, Any]) -> None: ...
def verify_token_not_blacklisted(decoded_token: dict[str, Any], request_type: str) -> None: ...
def verify_token_type(decoded_token: dict[str, Any], expected_type: str) -> None: ...
""",
    "view_decorators": same_names(
        "fresh_jwt_required",
        "jwt_exempt",
        "jwt_optional",
        "jwt_refresh_token_required",
        "jwt_required",
        "protect",
        "verify_fresh_jwt_in_request",
        "verify_jwt_in_request",
        "verify_jwt_in_request_optional",
        "verify_jwt_refresh_token_in_request",
    ),
}


class BuildExt(build_ext):
    """Cython as setuptools drives it, plus the stubs and the flags that the compiler offers."""

    def finalize_options(self) -> None:
        super().finalize_options()
        self.cython_directives = BUILD.directives
        # Nothing left by another build, perhaps with other directives, is taken for up to date.
        self.force = True
        # Coverage looks for the .c beside the .pyx.
        self.cython_c_in_temp = BUILD is not TEST_BUILDS["coverage"]

    def build_extension(self, ext: Extension) -> None:
        if BUILD is RELEASE and self.compiler.compiler_type == "unix":
            for alternatives in HARDENING:
                for compile_args, link_args in alternatives:
                    if self.offers(compile_args, link_args):
                        ext.extra_compile_args += compile_args
                        ext.extra_link_args += link_args
                        break
        try:
            super().build_extension(ext)
        except CompileError as error:
            raise CompileError(
                f"{error}\nThis needs a C compiler and the headers of this Python, on Debian the "
                "packages gcc and python3-dev; a wheel from the package index needs neither."
            ) from error

    def offers(self, compile_args: list[str], link_args: list[str]) -> bool:
        """Does the compiler take these flags without a warning?"""
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder, "probe.c")
            # The C library warns of _FORTIFY_SOURCE where it cannot have an effect.
            source.write_text("#include <string.h>\nint probe(void) { return 0; }\n")
            try:
                objects = self.compiler.compile(
                    [str(source)], output_dir=folder, extra_postargs=["-Werror", *compile_args]
                )
                self.compiler.link_shared_object(
                    objects, str(Path(folder, "probe.so")), extra_postargs=link_args
                )
            except (CompileError, LinkError):
                return False
            return True

    def run(self) -> None:
        super().run()
        target = Path("." if self.inplace else self.build_lib, f"{NAME}-stubs")
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
        shutil.copyfile(f"{NAME}.pyi", target / "__init__.pyi")
        for module, text in SUBMODULE_STUBS.items():
            (target / f"{module}.pyi").write_text(text, encoding="utf-8")

    def get_outputs(self) -> list[str]:
        stubs = Path(self.build_lib, f"{NAME}-stubs")
        return super().get_outputs() + [
            str(stubs / f"{module}.pyi") for module in ("__init__", *SUBMODULE_STUBS)
        ]


if __name__ == "__main__":
    extension = Extension(
        NAME,
        [f"{NAME}.pyx"],
        depends=[f"{NAME}.pyi"],
        define_macros=BUILD.macros,
        extra_compile_args=BUILD.compile_args,
        extra_link_args=BUILD.link_args,
    )
    setup(ext_modules=[extension], cmdclass={"build_ext": BuildExt})
