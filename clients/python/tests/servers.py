"""Real servers for tests, each in a directory and on ports of its own."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import pathlib
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import pytest

from order_router import ExecutionIntent, Options, RetryPolicy

T = TypeVar("T")
CLIENT = pathlib.Path(__file__).resolve().parent.parent
REPOSITORY = CLIENT.parent.parent
READY_S = 60.0
STOP_S = 20.0
SOON_S = 30.0
"""The time limit of whatever should happen at once, on a busy machine."""
POLL_S = 0.05


def run(work: Coroutine[Any, Any, T], limit: float = 90.0) -> T:
    """Runs a test's coroutine with a time limit."""
    return asyncio.run(asyncio.wait_for(work, limit))


def until(what: str, condition: Callable[[], T | None], limit: float = SOON_S) -> T:
    """Polls until the condition returns something, and returns that."""
    end = time.monotonic() + limit
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(POLL_S)
    raise AssertionError(f"{what}: not within {limit} s")


def program(name: str) -> str:
    """Returns the path of a server; skips the test if it is not installed, unless CI is true."""
    found = shutil.which(name, path=f"{REPOSITORY / '.tools/bin'}:{os.environ.get('PATH', '')}")
    return found or missing(f"there is no {name} (`make setup` installs it)")


def router_program() -> str:
    """Returns the path of order-router: ``ORDER_ROUTER_BIN``, or what cargo has built."""
    if given := os.environ.get("ORDER_ROUTER_BIN"):
        return given
    target = REPOSITORY / os.environ.get("CARGO_TARGET_DIR", "target")
    built = [path for path in (target / "debug/order-router", target / "release/order-router") if path.exists()]
    return str(built[0]) if built else missing("there is no order-router: build it, or set ORDER_ROUTER_BIN")


def missing(why: str) -> str:
    if os.environ.get("CI") == "true":
        pytest.fail(f"{why}, and with CI=true no check is skipped")
    pytest.skip(why)


class Process:
    """A child process that is ended with its test."""

    def __init__(
        self,
        command: list[str],
        log: pathlib.Path,
        environment: dict[str, str] | None = None,
        *,
        directory: pathlib.Path | None = None,
    ) -> None:
        self.log = log
        self._received = b""
        clean = {key: value for key, value in os.environ.items() if not key.startswith("ORDER_ROUTER_")}
        clean["PATH"] = f"{REPOSITORY / '.tools/bin'}:{clean.get('PATH', '')}"
        with log.open("ab") as errors:
            self.child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                cwd=directory,
                env={**clean, **(environment or {})},
            )

    def line(self, begin: str) -> str:
        """Waits for a line of standard output with this beginning."""
        output, end = self.child.stdout, time.monotonic() + READY_S
        assert output is not None
        while time.monotonic() < end:
            for line in self._received.decode().splitlines(keepends=True):
                if line.startswith(begin) and line.endswith("\n"):
                    return line.strip()
            if select.select([output], [], [], POLL_S)[0]:
                chunk = os.read(output.fileno(), 4096)
                self._received += chunk
                if not chunk:
                    break
        tail = self.log.read_text(errors="replace")[-2000:]
        raise AssertionError(f"{self.child.args!r} printed no line {begin!r}: {self._received!r}\n{tail}")

    def kill(self) -> None:
        """Ends the process at once, as a crash does."""
        self.child.kill()
        self.child.wait(STOP_S)

    def stop(self) -> None:
        """Ends the process in order; at once if it does not end in time."""
        if self.child.poll() is None:
            self.child.send_signal(signal.SIGTERM)
            try:
                self.child.wait(STOP_S)
            except subprocess.TimeoutExpired:
                self.kill()
        if self.child.stdout:
            self.child.stdout.close()


@dataclass(frozen=True)
class Dev:
    """A whole router, started by ``order-router dev``."""

    nats_url: str
    http_url: str

    def options(self, account: str, **changes: Any) -> Options:
        return options(self.nats_url, account, http_url=self.http_url, **changes)


@contextlib.contextmanager
def dev(directory: pathlib.Path, *settings: str, config: pathlib.Path | None = None) -> Iterator[Dev]:
    """Starts ``order-router dev`` on free ports. A setting is ``path=value``, ``config`` a file of settings."""
    command = [router_program(), "dev", "--data-dir", str(directory / "data"), "--sync", "default"]
    command += ["--http-addr", "127.0.0.1:0", "--nats-port", "0", "--redis-port", "0"]
    for setting in settings:
        command += ["--set", setting]
    if config:
        command += ["--config", str(config)]
    process = Process(command, directory / "dev.log")
    try:
        urls = dict(part.split("=", 1) for part in process.line("ready http=").split()[1:])
        yield Dev(urls["nats"], urls["http"])
    finally:
        process.stop()


class Cluster:
    """NATS, and Redis and workers as a test needs them. Each can be killed and started on its own."""

    def __init__(self, directory: pathlib.Path) -> None:
        self.directory = directory
        self.processes: list[Process] = []
        self.redis_url: str | None = None
        self.nats = self._start_nats()
        self.nats_url = until("nats-server listens", self._nats_url)

    def _start_nats(self, *arguments: str, port: int = -1) -> Process:
        store = str(self.directory / "nats")
        command = [program("nats-server"), "-js", "-sd", store, "-a", "127.0.0.1", "-p", str(port), *arguments]
        return self._start([*command, "--ports_file_dir", str(self.directory)], "nats.log")

    def restart_nats(self, *arguments: str) -> None:
        """Kills NATS and starts it again with its data, on its port."""
        self.nats.kill()
        port = int(self.nats_url.rsplit(":", 1)[1])
        for ports in self.directory.glob("nats-server_*.ports"):
            ports.unlink()
        self.nats = self._start_nats(*arguments, port=port)
        self.processes.insert(0, self.processes.pop())  # the last to stop: workers drain into it
        until("nats-server listens again", self._nats_url)

    def _nats_url(self) -> str | None:
        for ports in self.directory.glob(f"*_{self.nats.child.pid}.ports"):
            with contextlib.suppress(ValueError, KeyError, IndexError):  # the file is being written
                return str(json.loads(ports.read_text())["nats"][0])
        return None

    def _start_redis(self) -> str:
        for _ in range(5):  # another process may take a free port first
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                port = probe.getsockname()[1]
            command = [program("redis-server"), "--port", str(port), "--bind", "127.0.0.1", "--save", ""]
            command += ["--dir", str(self.directory), "--maxmemory-policy", "noeviction"]
            redis = self._start(command, "redis.log")
            with contextlib.suppress(AssertionError):
                until("redis-server listens", lambda: _accepts(port) if redis.child.poll() is None else None, 10)
                return f"redis://127.0.0.1:{port}"
        raise AssertionError("redis-server did not start")

    def _start(self, command: list[str], log: str, environment: dict[str, str] | None = None) -> Process:
        process = Process(command, self.directory / log, environment)
        self.processes.append(process)
        return process

    def worker(self, environment: dict[str, str] | None = None) -> Process:
        """Starts a worker, and Redis for the first one, and waits until it is ready."""
        self.redis_url = self.redis_url or self._start_redis()
        addresses = ["--nats-url", self.nats_url, "--redis-url", self.redis_url]
        data = {"ORDER_ROUTER_DATA_DIR": str(self.directory / "worker"), **(environment or {})}
        worker = self._start([router_program(), *addresses, "worker"], "worker.log", data)
        worker.line("ready worker")
        return worker

    def stop(self) -> None:
        for process in reversed(self.processes):
            process.stop()


def _accepts(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(POLL_S)
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Proxy:
    """A TCP proxy in front of NATS. It can swallow what the server sends, and cut every connection."""

    def __init__(self, url: str) -> None:
        self._host, self._port = re.sub(r"^nats://", "", url).rsplit(":", 1)
        self.swallow_replies = False
        self.swallowed = b""
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> Proxy:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()

    @property
    def url(self) -> str:
        assert self._server is not None
        return f"nats://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    def cut(self) -> None:
        """Closes every connection at once."""
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            upstream, to_server = await asyncio.open_connection(self._host, int(self._port))
        except OSError:
            writer.transport.abort()
            return
        self._writers.add(to_server)
        both = (self._pass(reader, to_server, False), self._pass(upstream, writer, True))
        await asyncio.gather(*both)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, is_reply: bool) -> None:
        with contextlib.suppress(OSError):
            while chunk := await reader.read(65536):
                if is_reply and self.swallow_replies:
                    self.swallowed += chunk
                    continue
                writer.write(chunk)
                await writer.drain()
        writer.transport.abort()


def options(nats_url: str, account: str, **changes: Any) -> Options:
    """Options with time limits for a busy machine."""
    retry = changes.pop("retry", RetryPolicy(attempts=12, reply_timeout=5.0, max_delay=0.5, grace=5.0))
    return Options(nats_url=nats_url, account=account, timeout=changes.pop("timeout", 45.0), retry=retry, **changes)


def buy(**changes: Any) -> ExecutionIntent:
    """An order that the paper venue of ``binance`` fills at once."""
    fields: dict[str, Any] = {
        "broker": "binance", "venue": "binance.spot", "symbol": "BTCUSDT", "side": "buy", "quantity": "0.001",
        "order_type": "limit", "price": "30000",
    }  # fmt: skip
    return ExecutionIntent(**{**fields, **changes})


def resting(**changes: Any) -> ExecutionIntent:
    """An order that the paper venue of ``ibkr`` fills in part; the rest stays open with ``rest_fill=never``."""
    fields: dict[str, Any] = {"broker": "ibkr", "venue": "ibkr.paper", "symbol": "AAPL", "quantity": 10, "price": 180}
    return buy(**{**fields, **changes})


def python(*arguments: str, environment: dict[str, str] | None = None, limit: float = 120.0) -> str:
    """Runs this Python and returns what it prints on standard output."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith("ORDER_ROUTER_")}
    done = subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        timeout=limit,
        cwd=CLIENT,
        env={**clean, **(environment or {})},
    )
    assert done.returncode == 0, f"{arguments} exits with {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout
