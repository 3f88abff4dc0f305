"""Group D: real servers on the loopback interface, under a bounded load from this process."""

from __future__ import annotations

import asyncio
import random
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from conductor import command, shuffled
from load import Client

SERVERS = ("uvicorn", "uvicorn[standard]", "hypercorn")

CONNECTIONS = 16

# Short slices in turns: the machine is about as noisy in one as in the next.
ROUNDS = 100
REQUESTS = 160

# No slice takes longer than this unless something is broken (seconds).
LIMIT = 60


class Server:
    """A server process of one environment."""

    def __init__(self, python: Path, server: str, cpu: int) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        script = command(python, "server.py", server, str(self.port), str(cpu))
        self.process = subprocess.Popen(script, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.authorization = self.process.stdout.readline().strip()

    def wait_until_it_answers(self) -> None:
        end = time.monotonic() + LIMIT
        while self.process.poll() is None and time.monotonic() < end:
            try:
                socket.create_connection(("127.0.0.1", self.port)).close()
            except ConnectionRefusedError:
                time.sleep(0.05)
            else:
                return
        raise RuntimeError("A server did not start")

    def cpu_time(self) -> int:
        """Nanoseconds that the server has had the CPU; where Linux does not tell, the clock."""
        schedstat = Path(f"/proc/{self.process.pid}/schedstat")
        if schedstat.exists():
            return int(schedstat.read_text().split()[0])
        return time.perf_counter_ns()

    def request(self, path: str) -> bytes:
        """The same request for both routes, the token included."""
        return (
            f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\n"
            "User-Agent: benchmark\r\nAccept: */*\r\n"
            f"Authorization: {self.authorization}\r\n\r\n"
        ).encode()

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()


def measure_servers(pythons: dict[str, Path], cpu: int) -> list[dict[str, Any]]:
    """The rows of each kind of server."""
    return [row for server in SERVERS for row in _measure_server(server, pythons, cpu)]


def _measure_server(server: str, pythons: dict[str, Path], cpu: int) -> list[dict[str, Any]]:
    """Two servers, one per environment; the one that is not loaded only waits."""
    servers: dict[str, Server] = {}
    try:
        for name, python in pythons.items():
            servers[name] = Server(python, server, cpu)
        for one in servers.values():
            one.wait_until_it_answers()
        slices = asyncio.run(_load(servers))
    finally:
        for one in servers.values():
            one.stop()

    rows = []
    for route, own in slices.items():
        base = slices[f"open, {route.removeprefix('open, ')}"]
        percentiles = quantiles([latency for one in own for latency in one.latencies], n=100)
        pairs = list(zip(own, base, strict=True))
        rows.append(
            {
                "server": server,
                "route": route,
                "requests_per_second": median(one.per_second for one in own),
                "percent_of_open": 100 * median(a.per_second / b.per_second for a, b in pairs),
                "requests_per_cpu_second": median(one.per_cpu_second for one in own),
                "percent_of_open_by_cpu": 100
                * median(a.per_cpu_second / b.per_cpu_second for a, b in pairs),
                "p50_ms": percentiles[49] / 1e6,
                "p99_ms": percentiles[98] / 1e6,
            }
        )
    return rows


@dataclass(frozen=True)
class Slice:
    """What one slice of load came to."""

    per_second: float
    per_cpu_second: float
    latencies: list[int]


async def _load(servers: dict[str, Server]) -> dict[str, list[Slice]]:
    """The slices of each route, one a round."""
    clients = {name: await Client.connect(one.port, CONNECTIONS) for name, one in servers.items()}
    slices: dict[str, list[Slice]] = {
        route: [] for name in servers for route in (f"open, {name}", name)
    }
    chance = random.Random(0)
    for _ in range(ROUNDS):
        for name in shuffled(chance, servers):
            # The two that are compared come right after each other.
            for route, path in shuffled(chance, ((f"open, {name}", "/open"), (name, "/protected"))):
                one = await _load_slice(servers[name], clients[name], path)
                slices[route].append(one)
    for client in clients.values():
        client.close()
    return slices


async def _load_slice(server: Server, client: Client, path: str) -> Slice:
    cpu_start, start = server.cpu_time(), time.perf_counter_ns()
    latencies = await client.load(server.request(path), REQUESTS, LIMIT)
    elapsed = time.perf_counter_ns() - start
    cpu_elapsed = server.cpu_time() - cpu_start
    return Slice(REQUESTS * 1e9 / elapsed, REQUESTS * 1e9 / cpu_elapsed, latencies)
