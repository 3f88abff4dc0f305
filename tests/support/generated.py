"""How many inputs a test generates, the same ones in every run.

``EXAMPLES=10`` in the environment tries ten times as many, and all that is tried a sample of
otherwise: that is the full depth.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

MULTIPLIER = int(os.environ.get("EXAMPLES", "1"))
IS_FULL = MULTIPLIER >= 10


def examples(count: int, *suppressed: HealthCheck) -> settings:
    """Settings of a test that takes so many inputs, multiplied."""
    return settings(
        max_examples=count * MULTIPLIER,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, *suppressed],
    )
