"""Real Redis, PostgreSQL and nginx servers for tests, on 127.0.0.1, in a temporary directory each.

A test file either imports a fixture::

    from support.services import redis_server as redis_server

or starts a server of its own: ``with started(RedisServer) as server``. Both skip the test where the
program is missing, and fail it where REQUIRE_SERVICES=1 promises that it is there. A server keeps
its port and its data while it is stopped, so that a test can take it away and give it back.
"""

from __future__ import annotations

import os
import pwd
import random
import shutil
import socket
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from signal import SIGCONT, SIGINT, SIGKILL, SIGSTOP, SIGTERM, Signals
from typing import Any, Protocol, TypeVar

import pytest

from support.commands import unavailable

# Seconds; ample for a slow machine, so that nothing here waits without an end.
START_LIMIT = 60
STOP_LIMIT = 30
POLL = 0.02

# Another process may take a port between our look and the server's bind.
PORTS_TO_TRY = 5


class ServiceMissing(RuntimeError):
    """The program of a service is not installed."""


def free_port() -> int:
    """A free port of 127.0.0.1, below those that the system gives to outgoing connections.

    While the service is away, a client that tries again and again may otherwise be given that very
    port for its own end, and then talks to itself and keeps the service from coming back.
    """
    below = 32768
    ephemeral = Path("/proc/sys/net/ipv4/ip_local_port_range")
    if ephemeral.is_file():
        below = int(ephemeral.read_text().split()[0])
    for _ in range(100):
        port = random.randrange(10000, max(below, 10100))
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise RuntimeError("no free port found in 100 tries")


def environment() -> dict[str, str]:
    """Ours, without what is meant for Python alone, a sanitizer, or for clients of PostgreSQL."""
    return {k: v for k, v in os.environ.items() if k != "LD_PRELOAD" and not k.startswith("PG")}


class Service(ABC):
    """A server process that can be stopped and started again; a context manager around it."""

    # What ends it in good order.
    end: Signals = SIGTERM

    def __init__(self) -> None:
        self.port = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._directory: tempfile.TemporaryDirectory[str] | None = None

    @property
    @abstractmethod
    def url(self) -> str:
        """Where clients find it."""

    @classmethod
    @abstractmethod
    def program(cls) -> Path:
        """The program that is run.

        :raises ServiceMissing: it is not installed.
        """

    @abstractmethod
    def _prepare(self) -> None:
        """Make what the first start needs, in the directory."""

    @abstractmethod
    def _command(self) -> list[str]: ...

    @abstractmethod
    def _answers(self, pid: int) -> bool:
        """Whether it is this very process that is ready to serve."""

    def _account(self) -> dict[str, Any]:
        """Under which account to run it, in the words of Popen; nothing for ours."""
        return {}

    @property
    def directory(self) -> Path:
        assert self._directory is not None, "not entered"
        return Path(self._directory.name)

    @property
    def log(self) -> Path:
        return self.directory / "log"

    def __enter__(self: S) -> S:
        # Not under pytest's own temporary directory, which other accounts may not enter.
        self._directory = tempfile.TemporaryDirectory(prefix="service-")
        try:
            self._prepare()
            for attempt in range(PORTS_TO_TRY):
                self.port = free_port()
                try:
                    self.start()
                    break
                except RuntimeError:
                    if attempt == PORTS_TO_TRY - 1:
                        raise
        except BaseException:
            self._clean()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.stop()
        finally:
            self._clean()

    def start(self) -> None:
        """Start it, on the port and the data that it had, and wait until it answers."""
        assert self._process is None, "already running"
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command(),
                cwd=self.directory,
                **self._account(),
                env=environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        deadline = time.monotonic() + START_LIMIT
        while not self._answers(self._process.pid):
            status = self._process.poll()
            if status is not None or time.monotonic() > deadline:
                self.kill()
                why = "no answer in time" if status is None else f"ended with status {status}"
                raise RuntimeError(f"{type(self).__name__}: {why}\n{self.log.read_text()}")
            time.sleep(POLL)

    def stop(self) -> None:
        """End it in good order, and wait for its end."""
        if self._process is None:
            return
        self._process.send_signal(self.end)
        try:
            self._process.wait(STOP_LIMIT)
        except subprocess.TimeoutExpired:
            self.kill()
            raise
        self._process = None

    def kill(self) -> None:
        """End it as a crash does, and wait for its end."""
        if self._process is None:
            return
        self._process.send_signal(SIGKILL)
        self._process.wait(STOP_LIMIT)
        self._process = None

    @contextmanager
    def hanging(self) -> Iterator[None]:
        """It keeps its connections and takes new ones, and answers nothing."""
        assert self._process is not None, "not running"
        pid = self._process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        pids = [pid, *map(int, children)]
        for each in pids:
            os.kill(each, SIGSTOP)
        try:
            yield
        finally:
            for each in pids:
                os.kill(each, SIGCONT)

    def _clean(self) -> None:
        self.kill()
        if self._directory is not None:
            self._directory.cleanup()
            self._directory = None


S = TypeVar("S", bound=Service)


class RedisServer(Service):
    """A Redis that loses no write that it has acknowledged, even when it is killed."""

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    @classmethod
    def program(cls) -> Path:
        found = shutil.which("redis-server")
        if found is None:
            raise ServiceMissing("redis-server is not installed (Debian: redis-server)")
        return Path(found)

    def _prepare(self) -> None:
        """It makes its files itself."""

    def _command(self) -> list[str]:
        options = {
            "port": str(self.port),
            "bind": "127.0.0.1",
            "dir": str(self.directory),
            "save": "",
            "appendonly": "yes",
            "appendfsync": "always",
        }
        return [str(self.program()), *(part for k, v in options.items() for part in (f"--{k}", v))]

    def _answers(self, pid: int) -> bool:
        """It refuses PING while it reads its data, and INFO tells it from one of another test."""
        wanted = f"process_id:{pid}\r".encode()
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection:
                connection.sendall(b"PING\r\nINFO server\r\nQUIT\r\n")
                answer = b"".join(iter(lambda: connection.recv(4096), b""))
        except OSError:
            return False
        return answer.startswith(b"+PONG\r\n") and wanted in answer


class _ClusterNode(RedisServer):
    """One of several; it serves its part of the keys once it knows the others."""

    def _command(self) -> list[str]:
        return [*super()._command(), "--cluster-enabled", "yes"]

    def said(self, *commands: str) -> str:
        """What it answers to these commands."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection:
            connection.sendall("".join(f"{each}\r\n" for each in [*commands, "QUIT"]).encode())
            return b"".join(iter(lambda: connection.recv(4096), b"")).decode()


class RedisCluster:
    """Three Redis servers that share the keys, without replicas; any one tells of the others."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self.nodes: list[RedisServer] = []

    @property
    def url(self) -> str:
        return self.nodes[0].url

    @classmethod
    def program(cls) -> Path:
        return RedisServer.program()

    def __enter__(self) -> RedisCluster:
        with self._stack:
            nodes = [self._stack.enter_context(_ClusterNode()) for _ in range(3)]
            for number, node in enumerate(nodes):
                first, end = (16384 * each // 3 for each in (number, number + 1))
                meet = [f"CLUSTER MEET 127.0.0.1 {other.port}" for other in nodes[:number]]
                node.said(f"CLUSTER ADDSLOTSRANGE {first} {end - 1}", *meet)
            deadline = time.monotonic() + START_LIMIT
            for node in nodes:
                while "cluster_state:ok" not in node.said("CLUSTER INFO"):
                    if time.monotonic() > deadline:
                        raise RuntimeError(f"no cluster in time\n{node.log.read_text()}")
                    time.sleep(POLL)
            self.nodes = [*nodes]
            # From here on, leaving this one ends them.
            self._stack = self._stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()


class PostgresServer(Service):
    """A PostgreSQL with the superuser ``postgres``, no password and one database, ``postgres``."""

    # "Fast": it does not wait for clients to leave.
    end = SIGINT

    @property
    def url(self) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    @property
    def data(self) -> Path:
        return self.directory / "data"

    def _account(self) -> dict[str, Any]:
        """It refuses to run as root; its packages bring an account for it."""
        if os.geteuid() != 0:
            return {}
        entry = pwd.getpwnam("postgres")
        return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}

    @classmethod
    def program(cls) -> Path:
        # Debian keeps it out of the path, in one folder per version.
        found = sorted(
            Path("/usr/lib/postgresql").glob("*/bin/postgres"),
            key=lambda path: float(path.parts[-3]),
        )
        named = found[-1] if found else shutil.which("postgres")
        if named is None:
            raise ServiceMissing("postgres is not installed (Debian: postgresql)")
        return Path(named).resolve()

    def _prepare(self) -> None:
        account = self._account()
        if account:
            os.chown(self.directory, account["user"], account["group"])
        options = ["--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C"]
        subprocess.run(
            [self.program().with_name("initdb"), f"--pgdata={self.data}", "--no-sync", *options],
            cwd=self.directory,
            **account,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            timeout=START_LIMIT,
            check=True,
        )

    def _command(self) -> list[str]:
        # No socket in the file system: its folder may belong to a server of the system.
        settings = ["listen_addresses=127.0.0.1", f"port={self.port}", "unix_socket_directories="]
        options = [part for setting in settings for part in ("-c", setting)]
        return [str(self.program()), "-D", str(self.data), *options]

    def _answers(self, pid: int) -> bool:
        """Whether its status file says so, which is what its own tools go by."""
        try:
            lines = (self.data / "postmaster.pid").read_text().split("\n")
        except FileNotFoundError:
            return False
        return lines[0] == str(pid) and lines[7:8] == ["ready   "]


# One process of our own account, so that nothing is left behind when it is killed. Its folders for
# large bodies are beside its configuration: those that are compiled in belong to root.
NGINX = """\
daemon off;
master_process off;
pid nginx.pid;
events {}
http {
    access_log off;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
%s
}
"""


class NginxServer(Service):
    """An nginx with a configuration of the caller, for its block ``http``.

    The port takes the place of ``{port}`` in it.
    """

    def __init__(self, configuration: str) -> None:
        super().__init__()
        self._configuration = configuration

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    @classmethod
    def program(cls) -> Path:
        # Debian keeps it where only root looks for programs.
        found = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
        if found is None:
            raise ServiceMissing("nginx is not installed (Debian: nginx)")
        return Path(found)

    def _prepare(self) -> None:
        """Its configuration names the port, which is found later."""

    def _command(self) -> list[str]:
        text = NGINX % self._configuration.replace("{port}", str(self.port))
        (self.directory / "nginx.conf").write_text(text, "utf-8")
        where = ["-p", str(self.directory), "-c", str(self.directory / "nginx.conf")]
        return [str(self.program()), "-e", "stderr", *where]

    def _answers(self, pid: int) -> bool:
        """It writes its file once its port is bound."""
        try:
            return (self.directory / "nginx.pid").read_text() == f"{pid}\n"
        except FileNotFoundError:
            return False


class Startable(Protocol):
    """A service, or several that belong together."""

    @classmethod
    def program(cls) -> Path: ...

    def __enter__(self) -> Any: ...

    def __exit__(self, *_: object) -> None: ...


R = TypeVar("R", bound=Startable)


def need(kind: type[Startable]) -> None:
    """Skip or fail the test where the program is not installed."""
    try:
        kind.program()
    except ServiceMissing as missing:
        unavailable(str(missing))


@contextmanager
def started(kind: type[R]) -> Iterator[R]:
    """A running server for a test; see :func:`need`."""
    need(kind)
    server = kind()
    with server:
        yield server


@pytest.fixture(scope="module")
def redis_server() -> Iterator[RedisServer]:
    """One Redis for the test file that imports this; see :func:`started`."""
    with started(RedisServer) as server:
        yield server


@pytest.fixture(scope="module")
def postgres_server() -> Iterator[PostgresServer]:
    """One PostgreSQL for the test file that imports this; see :func:`started`."""
    with started(PostgresServer) as server:
        yield server
