"""The sessions of ``make load``, in small: two real workers, and a real store that goes and comes.

The run judges each answer, and how late a worker saw a revocation; here that is judged once more.
That it would notice is shown by stores with one fault each.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from support.load_runs import finish, start
from support.services import PostgresServer, RedisServer, need


def run(directory: Path, *arguments: str) -> tuple[int, list[dict[str, Any]], str]:
    """The status of a run, its figures and what it printed; it leaves no process."""
    need(RedisServer)
    figures = directory / "figures.json"
    options = ("--untimed", "--json", str(figures), "--connections", "24")
    process = start("sessions.py", *options, *arguments, directory=directory)
    output = finish(process)
    found = json.loads(figures.read_text())["runs"] if figures.is_file() else []
    return process.returncode, found, output


@pytest.mark.parametrize(
    ("store", "stalenesses", "outages"),
    [
        ("redis", ["0", "1"], ["stop", "kill"]),
        ("postgresql", ["1"], ["kill"]),
    ],
)
def test_sessions_outlive_their_store_and_nobody_gets_in_after_the_end(
    store: str, stalenesses: list[str], outages: list[str], tmp_path: Path
) -> None:
    if store == "postgresql":
        need(PostgresServer)
    status, figures, output = run(
        tmp_path,
        *("--stores", store),
        *("--staleness", *stalenesses),
        *("--outages", *outages),
        *("--seconds", "4", "--sessions", "200"),
    )
    assert status == 0, output
    assert [each["staleness"] for each in figures] == [float(each) for each in stalenesses]
    for each in figures:
        assert each["wrong"] == {}
        assert each["requests"] == sum(row[-1] for row in each["counts"]) > each["sessions"]
        # Two workers, each of which was asked about tokens just revoked.
        assert len(each["delays"]) == 2
        for watched, delay in each["delays"].values():
            assert watched > 0
            assert delay <= (each["staleness"] and each["staleness"] + 1)
        statuses = {kind: set() for kind, *_ in each["counts"]}
        for kind, _, answer, _ in each["counts"]:
            statuses[kind].add(answer)
        assert 200 not in statuses["ended before"] or each["staleness"]
        assert statuses["at the end"] == {200}


# --- the run must be able to fail ----------------------------------------------------------------

# What is wrong with a store, the staleness, and words of the fault that must be reported.
FAULTS = {
    "revocations are forgotten": (
        "async def revoke_session(self, session_id): return None",
        "0",
        "s after the revocation",
    ),
    "other workers are not told": (
        "async def revoked_since(self, moment): return moment, []",
        "1",
        "s after the revocation",
    ),
    "a retry is taken for reuse": (
        """
async def rotate_session(self, session_id, generation, **values):
    values["grace"] = 0
    return await RedisTokenStore.rotate_session(self, session_id, generation, **values)
""",
        "0",
        "a good token is refused",
    ),
}

APPLICATION = """\
import sessions_app as module
from quart_jwt_extended import RedisTokenStore

class Faulty(RedisTokenStore):
{fault}

module.RedisTokenStore = Faulty
create_app = module.create_app
"""


@pytest.mark.parametrize("name", FAULTS)
def test_store_with_a_fault_fails_the_run(name: str, tmp_path: Path) -> None:
    fault, staleness, words = FAULTS[name]
    application = tmp_path / "faulty.py"
    indented = "\n".join(f"    {line}" for line in fault.strip().split("\n"))
    application.write_text(APPLICATION.format(fault=indented))
    status, figures, output = run(
        tmp_path,
        *("--application", str(application)),
        *("--stores", "redis", "--outages", "--staleness", staleness),
        *("--seconds", "8", "--sessions", "60"),
    )
    assert status == 1, output
    (each,) = figures
    assert each["wrong"]
    assert any(words in line for line in each["faults"]), output
