"""Test examples/json_and_query.py over real HTTP."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, urlsplit

import jwt
import pytest

from support import LONG_AGO
from support.example_process import (
    SECRET,
    Answer,
    Service,
    altered,
    decoded,
    example_claims,
    hypercorn,
    log_in,
)

# The entire request line, as many proxies and servers log it.
LOG = ["--access-logfile", "-", "--access-logformat", "%(R)s %(s)s"]
APPLICATION = hypercorn("json_and_query:app", *LOG)


REVOKED = (401, {"msg": "Token has been revoked"})
NO_SCOPE = (403, {"msg": "Insufficient scope"})


@pytest.fixture(scope="module")
def office(service: Service) -> str:
    """The token of a login."""
    return log_in(service).access


@pytest.fixture(scope="module")
def link(service: Service, office: str) -> str:
    """The path and query of a link to a report."""
    answer = service.call("POST", "/reports/july/link", office)
    assert answer.status == 200
    url = urlsplit(answer.body["url"])
    assert (url.scheme, url.netloc) == ("http", f"127.0.0.1:{service.port}")
    return f"{url.path}?{url.query}"


def add_partner(service: Service, office: str, name: str) -> str:
    """Return the token of a new partner, or a new token of an existing one."""
    answer = service.call("POST", f"/partners/{name}", office)
    assert answer.status == 200
    assert answer.body["url"] == f"http://127.0.0.1:{service.port}/webhooks/paid"
    return str(answer.body["access_token"])


@pytest.fixture(scope="module")
def partner(service: Service, office: str) -> str:
    """The token of a partner."""
    return add_partner(service, office, "bank")


def token_of(link: str) -> str:
    (token,) = parse_qs(urlsplit(link).query)["jwt"]
    return token


# --- the query string ----------------------------------------------------------------------------


def test_link_downloads_the_report_without_a_header(service: Service, link: str) -> None:
    answer = service.call("GET", link)
    assert answer == (200, "date,paid\n2026-07-01,12\n")
    assert answer.headers["Content-Type"] == "text/csv"
    assert answer.headers["Content-Disposition"] == "attachment; filename=july.csv"
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Referrer-Policy"] == "no-referrer"


def test_token_of_a_link_lasts_a_minute_and_has_one_scope(link: str) -> None:
    claims = decoded(token_of(link))
    assert claims["exp"] - claims["iat"] == 60
    assert (claims["sub"], claims["scope"]) == ("alice", "download")
    assert claims["report"] == "july"


def test_link_for_an_unknown_report_or_without_a_login_is_rejected(
    service: Service, office: str
) -> None:
    assert service.call("POST", "/reports/may/link", office).status == 404
    assert service.call("POST", "/reports/july/link").status == 401


def test_download_rejects_a_token_in_a_header_and_that_of_a_login(
    service: Service, office: str, link: str
) -> None:
    missing = (401, {"msg": 'Missing "jwt" query paramater'})
    assert service.call("GET", "/download") == missing
    assert service.call("GET", "/download", token_of(link)) == missing
    assert service.call("GET", f"/download?jwt={office}") == NO_SCOPE


def test_old_or_forged_link_is_rejected(service: Service, link: str) -> None:
    past = altered(token_of(link), exp=LONG_AGO)
    assert service.call("GET", f"/download?jwt={past}") == (401, {"msg": "Token has expired"})
    claims = example_claims(scope="download", report="july")
    forged = jwt.encode(claims, SECRET.upper(), algorithm="HS256")
    answer = service.call("GET", f"/download?jwt={forged}")
    assert answer == (422, {"msg": "Signature verification failed"})


def test_token_of_a_link_opens_nothing_else(service: Service, link: str) -> None:
    token = token_of(link)
    assert service.call("GET", "/payments", token) == NO_SCOPE
    assert service.call("POST", "/reports/august/link", token) == NO_SCOPE
    assert service.call("POST", "/partners/mallory", token) == NO_SCOPE
    assert service.call("GET", f"/payments?jwt={token}").status == 401
    body = {"access_token": token, "order": "A-17"}
    assert service.call("POST", "/webhooks/paid", body=body) == NO_SCOPE


def test_log_of_requests_shows_tokens_of_the_query_string_and_no_others(
    service: Service, link: str
) -> None:
    """The example warns of this. Tokens in links therefore expire after a minute."""
    assert service.call("GET", link).status == 200
    office = log_in(service).access
    partner = add_partner(service, office, "another-bank")
    body = {"access_token": partner, "order": "B-1"}
    assert service.call("POST", "/webhooks/paid", body=body).status == 200
    assert f"GET {link} " in service.printed
    assert office not in service.printed
    assert partner not in service.printed


# --- the JSON body -------------------------------------------------------------------------------


def test_webhook_with_its_token_in_the_body_is_accepted(
    service: Service, office: str, partner: str
) -> None:
    claims = decoded(partner)
    assert (claims["sub"], claims["scope"]) == ("bank", "webhook")
    assert claims["exp"] - claims["iat"] == 90 * 24 * 3600
    body = {"access_token": partner, "order": "A-18"}
    assert service.call("POST", "/webhooks/paid", body=body) == (200, {"msg": "Thank you"})
    status, payments = service.call("GET", "/payments", office)
    assert status == 200
    assert {"order": "A-18", "from": "bank"} in payments


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"order": "X"}, 'Missing "access_token" key in json data.'),
        (None, "Invalid content-type. Must be application/json."),
    ],
)
def test_webhook_without_a_token_in_the_body_is_rejected(
    service: Service, office: str, partner: str, body: Any, message: str
) -> None:
    before = service.call("GET", "/payments", office)
    assert service.call("POST", "/webhooks/paid", body=body) == (401, {"msg": message})
    assert service.call("POST", "/webhooks/paid", partner, body) == (401, {"msg": message})
    assert service.call("GET", "/payments", office) == before


def test_webhook_without_an_order_is_a_bad_request(service: Service, partner: str) -> None:
    for order in ({}, {"order": 18}):
        answer = service.call("POST", "/webhooks/paid", body={"access_token": partner, **order})
        assert answer == (400, {"msg": "Send the order number"})


def test_token_of_a_partner_opens_nothing_else(service: Service, partner: str) -> None:
    assert service.call("GET", "/payments", partner) == NO_SCOPE
    assert service.call("POST", "/partners/mallory", partner) == NO_SCOPE
    assert service.call("GET", f"/download?jwt={partner}") == NO_SCOPE


def test_only_the_newest_token_of_a_partner_is_valid(service: Service, office: str) -> None:
    def call(token: str) -> Answer:
        return service.call("POST", "/webhooks/paid", body={"access_token": token, "order": "C-1"})

    first, second = [add_partner(service, office, "shop") for _ in range(2)]
    assert call(first) == REVOKED
    assert call(second) == (200, {"msg": "Thank you"})
    gone = (200, {"msg": "Revoked the token of shop"})
    assert service.call("DELETE", "/partners/shop", second) == NO_SCOPE
    assert service.call("DELETE", "/partners/shop", office) == gone
    assert call(second) == REVOKED
    assert service.call("DELETE", "/partners/shop", office) == (404, {"msg": "Partner not found"})


def test_webhook_rejects_the_token_of_a_login(service: Service, office: str) -> None:
    body = {"access_token": office, "order": "A-19"}
    assert service.call("POST", "/webhooks/paid", body=body) == NO_SCOPE


# --- the header ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        {"username": "alice", "password": "x"},
        {"username": "alice", "password": "\ud800"},
        {"username": "bob"},
        [],
        None,
    ],
    ids=str,
)
def test_wrong_login_is_rejected(service: Service, body: Any) -> None:
    answer = service.call("POST", "/login", body=body)
    assert answer == (401, {"msg": "Wrong username or password"})


def test_office_requires_a_token(service: Service) -> None:
    assert service.call("GET", "/payments").status == 401
    assert service.call("POST", "/partners/mallory").status == 401
