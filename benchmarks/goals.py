"""The goals that a run is compared with: what each figure must reach, and what it should.

``must`` is the least that a change may leave, ``aim`` what is within reach. They bound what a user
pays for a protected request beside the alternatives that are installed with us: PyJWT by hand, and
0.1.0. A run prints each goal with its verdict; none fails it, as the machine may be busy.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from conductor import Key, Samples
from environments import OURS, PREDECESSOR

ASYMMETRIC = ("RS256", "PS256", "ES256", "EdDSA")


@dataclass
class Results:
    """All that a run measured; what it left out is empty."""

    samples: Samples = field(default_factory=Samples)
    servers: list[dict[str, Any]] = field(default_factory=list)
    memory: dict[str, float] = field(default_factory=dict)
    rotations: list[dict[str, Any]] = field(default_factory=list)
    left_out: dict[Key, str] = field(default_factory=dict)

    def overhead(self, shape: str, subject: str, group: str = "C") -> float:
        """What a protected route takes longer than the open one beside it (microseconds)."""
        base = (group, shape, self.open_route(subject))
        return self.samples.over((group, shape, subject), base)

    def least_overhead(self, shape: str, subject: str, group: str = "C") -> float:
        """The same from the fastest batches, which the noise of the machine spares most."""
        base = self.samples.minimum((group, shape, self.open_route(subject)))
        return self.samples.minimum((group, shape, subject)) - base

    @staticmethod
    def open_route(subject: str) -> str:
        """The subject whose time is taken from another's; see requesting.py."""
        return f"open route, {OURS if subject == 'jwt.decode by hand' else subject}"


@dataclass(frozen=True)
class Goal:
    """One row of the table; ``measured`` raises KeyError if the run did not measure it."""

    figure: str
    unit: str
    must: float
    aim: float
    measured: Callable[[Results], float]

    def verdict(self, value: float) -> str:
        more_is_better = self.aim > self.must

        def reaches(goal: float) -> bool:
            return value >= goal if more_is_better else value <= goal

        return "aim met" if reaches(self.aim) else "met" if reaches(self.must) else "MISSED"


def _times(slow: Key, fast: Key) -> Callable[[Results], float]:
    return lambda results: results.samples.median(slow) / results.samples.median(fast)


def _overheads(shape: str) -> Callable[[Results], float]:
    return lambda results: results.overhead(shape, PREDECESSOR) / results.overhead(shape, OURS)


def _beyond_bare_verification(results: Results) -> float:
    return max(
        results.samples.over(
            ("A", algorithm, f"{OURS}, decode_token"), ("A", algorithm, "bare verification")
        )
        for algorithm in ASYMMETRIC
    )


def _cache_hit(results: Results) -> float:
    subject = f"{OURS}, decode_token, signature cache hit"
    return max(results.samples.median(("A", algorithm, subject)) for algorithm in ASYMMETRIC)


def _store_at_staleness(results: Results) -> float:
    return results.samples.over(
        ("G", "verify_token", f"{OURS}, store, staleness N"),
        ("G", "verify_token", f"{OURS}, no store"),
    )


def _throughput(results: Results) -> float:
    """Per second of the server's CPU: that is what a server that has its CPU for itself gets."""
    shares = {
        row["server"]: row["percent_of_open_by_cpu"]
        for row in results.servers
        if row["route"] == OURS
    }
    return float(shares["uvicorn"])


GOALS = (
    Goal(
        "`decode_token` HS256 in an app context against `jwt.decode`",
        "times faster",
        10,
        16,
        _times(("A", "HS256", "jwt.decode"), ("A", "HS256", f"{OURS}, decode_token")),
    ),
    Goal(
        "overhead of `@jwt_required`, header, against 0.1.0's",
        "times smaller",
        15,
        25,
        _overheads("headers"),
    ),
    Goal("the same, cookie + CSRF", "times smaller", 10, 18, _overheads("cookies + CSRF")),
    Goal("the same, query string", "times smaller", 12, 18, _overheads("query string")),
    Goal("the same, JSON body", "times smaller", 6, 10, _overheads("JSON body")),
    Goal(
        "`decode_token`, asymmetric, no cache, beyond `key.verify` (slowest algorithm)",
        "us",
        2,
        1.2,
        _beyond_bare_verification,
    ),
    Goal(
        "`decode_token`, asymmetric, signature cache hit (slowest algorithm)",
        "us",
        2,
        1,
        _cache_hit,
    ),
    Goal(
        "`create_access_token` HS256 against 0.1.0",
        "times faster",
        10,
        20,
        _times(("B", "HS256", PREDECESSOR), ("B", "HS256", OURS)),
    ),
    Goal(
        "`create_access_token` RS256 from PEM against 0.1.0",
        "times faster",
        100,
        130,
        _times(("B", "RS256", PREDECESSOR), ("B", "RS256", OURS)),
    ),
    Goal(
        "refusing a bad HS256 signature against `jwt.decode`",
        "times faster",
        15,
        25,
        _times(("E", "bad signature", "jwt.decode"), ("E", "bad signature", OURS)),
    ),
    Goal(
        "`decode_token` refusing a 1 MB string",
        "us",
        20,
        5,
        lambda results: results.samples.median(("E", "garbage, 1 MB", OURS)),
    ),
    Goal(
        "throughput of a protected route of the open route's, uvicorn, one worker",
        "percent",
        93,
        97,
        _throughput,
    ),
    Goal(
        "RSS growth over 200,000 mixed requests after warm-up",
        "MiB",
        1,
        0,
        lambda results: results.memory["rss_growth_mib"],
    ),
    Goal(
        "a token store at staleness N, for each token that is verified",
        "us",
        1,
        0.3,
        _store_at_staleness,
    ),
)
