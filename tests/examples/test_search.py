"""docs/: the words that people search for are at the top of the page that answers them.

Search engines, and the search of the built documentation, weigh headings and first paragraphs most.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"

# The lines of a page that count as its first screen.
SCREEN = 30

# What people type, and the page that it must lead to.
SEARCHES = [
    ("install", "installation.md"),
    ("wheel", "installation.md"),
    ("compiler", "installation.md"),
    ("mypy", "installation.md"),
    ("quickstart", "quickstart.md"),
    ("login", "quickstart.md"),
    ("example", "examples.md"),
    ("protect", "protecting.md"),
    ("jwt_required", "protecting.md"),
    ("optional", "optional-views.md"),
    ("anonymous", "optional-views.md"),
    ("blueprint", "whole-apps.md"),
    ("openapi", "whole-apps.md"),
    ("swagger", "whole-apps.md"),
    ("pydantic", "whole-apps.md"),
    ("scopes", "scopes.md"),
    ("api key", "scopes.md"),
    ("role", "custom-decorators.md"),
    ("role based access", "custom-decorators.md"),
    ("permissions", "custom-decorators.md"),
    ("multi tenant", "custom-decorators.md"),
    ("decorator", "custom-decorators.md"),
    ("issuer audience", "claims.md"),
    ("impersonate", "claims.md"),
    ("async", "async-callbacks.md"),
    ("sqlite", "users.md"),
    ("postgresql", "users.md"),
    ("log in", "sessions.md"),
    ("sign in", "sessions.md"),
    ("sign out", "sessions.md"),
    ("log out", "sessions.md"),
    ("log out everywhere", "sessions.md"),
    ("refresh token rotation", "sessions.md"),
    ("sliding session", "sessions.md"),
    ("auto refresh", "sessions.md"),
    ("redis", "sessions.md"),
    ("refresh token", "refresh-tokens.md"),
    ("fresh token", "fresh-tokens.md"),
    ("logout", "revoking.md"),
    ("revoke token", "revoking.md"),
    ("blacklist", "revoking.md"),
    ("blocklist", "revoking.md"),
    ("csrf", "cookies.md"),
    ("browser", "cookies.md"),
    ("remember me", "cookies.md"),
    ("single page app", "cookies.md"),
    ("cors", "cookies.md"),
    ("axios csrf", "cookies.md"),
    ("fetch csrf", "cookies.md"),
    ("header", "token-locations.md"),
    ("mobile app", "token-locations.md"),
    ("query string", "token-locations.md"),
    ("websocket", "websockets.md"),
    ("identity provider", "openid.md"),
    ("keycloak", "openid.md"),
    ("auth0", "openid.md"),
    ("entra", "openid.md"),
    ("okta", "openid.md"),
    ("cognito", "openid.md"),
    ("mcp", "openid.md"),
    ("provider down", "openid.md"),
    ("key rotation", "key-rotation.md"),
    ("kid", "key-rotation.md"),
    ("rs256", "asymmetric-keys.md"),
    ("es256", "asymmetric-keys.md"),
    ("eddsa", "asymmetric-keys.md"),
    ("hs256", "asymmetric-keys.md"),
    ("jwks", "asymmetric-keys.md"),
    ("nginx", "deployment.md"),
    ("https", "deployment.md"),
    ("environment", "deployment.md"),
    ("docker", "deployment.md"),
    ("prometheus", "deployment.md"),
    ("health check", "deployment.md"),
    ("rate limit", "deployment.md"),
    ("clock skew", "deployment.md"),
    ("signature cache", "performance.md"),
    ("error message", "troubleshooting.md"),
    ("signature verification failed", "troubleshooting.md"),
    ("token expired", "troubleshooting.md"),
    ("422", "troubleshooting.md"),
    ("testing", "testing.md"),
    ("pytest", "testing.md"),
    ("unit test", "testing.md"),
    ("expired token", "errors.md"),
    ("401", "errors.md"),
    ("problem details", "errors.md"),
    ("signals", "errors.md"),
    ("vulnerability", "security.md"),
    ("pyjwt", "pyjwt.md"),
    ("flask-jwt-extended", "from-flask-jwt-extended.md"),
    ("simplejwt", "from-simplejwt.md"),
    ("simple jwt django", "from-simplejwt.md"),
    ("migrate", "changing-from-0.1.0.md"),
    ("upgrade", "changing-from-0.1.0.md"),
]


def prominent_texts(page: str) -> list[str]:
    """The name of a page, its headings, and about what its reader sees without scrolling."""
    text = (DOCS / page).read_text("utf-8")
    # Where links lead is not to be read, and the built page has no list of sections.
    text = re.sub(r"^- \[[^]]+\]\(#.*\n", "", text, flags=re.MULTILINE)
    text = re.sub(r"\]\([^)]+\)", "]", text)
    without_code = re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)
    headings = re.findall(r"^#+ (.+)$", without_code, re.MULTILINE)
    return [page, *headings, " ".join(text.splitlines()[:SCREEN])]


def has_all_words(text: str, phrase: str) -> bool:
    """Whether each word begins a word of the text, so that "role" finds "roles"."""
    words = phrase.lower().split()
    return all(re.search(rf"\b{re.escape(word)}", text.lower()) for word in words)


@pytest.mark.parametrize(("phrase", "page"), SEARCHES, ids=[phrase for phrase, _ in SEARCHES])
def test_page_says_at_its_top_what_people_search_for(phrase: str, page: str) -> None:
    assert any(has_all_words(text, phrase) for text in prominent_texts(page))


@pytest.mark.parametrize("page", sorted({page for _, page in SEARCHES}))
def test_page_that_people_search_for_is_on_the_first_page(page: str) -> None:
    index = (DOCS / "index.md").read_text("utf-8")
    assert re.search(rf"^- \[[^]]+\]\({re.escape(page)}\): ", index, re.MULTILINE)


def test_phrases_are_listed_once() -> None:
    phrases = [phrase for phrase, _ in SEARCHES]
    assert len(set(phrases)) == len(phrases)
