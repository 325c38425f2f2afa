"""A running router for the console's tests, orders for it, and a proxy that can cut its connections."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import select
import shutil
import signal
import socket
import subprocess
import threading
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import pytest

T = TypeVar("T")
CONSOLE = pathlib.Path(__file__).resolve().parent.parent
REPOSITORY = CONSOLE.parent
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
READY_S = 60.0
STOP_S = 20.0
SOON_S = 20.0
POLL_S = 0.05
CHUNK_BYTES = 65_536


def missing(why: str) -> str:
    """Skips the test with a reason; with CI=true it fails instead."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"{why}, and with CI=true no check is skipped")
    pytest.skip(why)


def browser_program() -> str:
    """Returns the path of a Chromium."""
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    return found or missing("there is no Chromium: install Debian's package chromium")


def router_program() -> str:
    """Returns the path of order-router: ``ORDER_ROUTER_BIN``, or what cargo has built."""
    if given := os.environ.get("ORDER_ROUTER_BIN"):
        return given
    target = REPOSITORY / os.environ.get("CARGO_TARGET_DIR", "target")
    built = [path for path in (target / "debug/order-router", target / "release/order-router") if path.exists()]
    return str(built[0]) if built else missing("there is no order-router: build it, or set ORDER_ROUTER_BIN")


def until(what: str, condition: Callable[[], T | None], limit: float = SOON_S) -> T:
    """Polls until the condition returns something, and returns that."""
    end = time.monotonic() + limit
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(POLL_S)
    raise AssertionError(f"{what}: not within {limit} s")


@dataclass
class Router:
    """A router that ``order-router dev`` runs."""

    url: str
    nats_url: str
    process: subprocess.Popen[bytes]
    key: str | None = None

    def call(self, path: str, body: dict[str, Any] | None = None, method: str | None = None) -> Any:
        """Sends a request and returns its JSON. Numbers are exact texts."""
        headers = {"Accept": "application/json; numbers=string", "Content-Type": "application/json"}
        if self.key:
            headers["Authorization"] = f"Bearer {self.key}"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}/{path}", data, headers, method=method)
        with contextlib.suppress(urllib.error.HTTPError), urllib.request.urlopen(request, timeout=10) as response:
            return json.load(response)
        return None

    def submit(self, **changes: Any) -> Any:
        """Submits an order that fills at once, with some fields changed. Returns its report; None for a refusal."""
        order = {
            "broker": "binance", "venue": "binance.spot", "symbol": "BTCUSDT", "side": "buy", "quantity": "0.01",
            "order_type": "limit", "price": "30000", "client_order_id": uuid.uuid4().hex, "account_id": "default",
        }
        return self.call("orders", {**order, **changes})

    def submit_open(self, **changes: Any) -> Any:
        """Submits an order of which a part stays open."""
        order = {"broker": "ibkr", "venue": "ibkr.paper", "symbol": "AAPL", "quantity": "100", "price": "180"}
        return self.submit(**{**order, **changes})


@contextlib.contextmanager
def start_router(directory: pathlib.Path, more: str = "") -> Iterator[Router]:
    """Starts a router on free ports whose IBKR orders keep 5 % open, with more settings."""
    settings = directory / "settings.toml"
    settings.write_text(f'[brokers.paper_ibkr]\nrest_fill = "never"\n{more}')
    command = ["dev", "--data-dir", str(directory / "data"), "--sync", "default", "--config", str(settings)]
    command += ["--http-addr", "127.0.0.1:0", "--nats-port", "0", "--redis-port", "0"]
    with start_program(command, directory / "dev.log") as (process, addresses):
        yield Router(addresses["http"], addresses["nats"], process)


@contextlib.contextmanager
def start_sidecar(router: Router, settings: pathlib.Path, key: str) -> Iterator[Router]:
    """Starts another sidecar of a router, with settings of its own."""
    command = ["--config", str(settings), "--nats-url", router.nats_url, "--set", "http.addr=127.0.0.1:0"]
    command += ["--set", f"data_dir={settings.parent / 'sidecar'}", "sidecar"]
    with start_program(command, settings.parent / "sidecar.log") as (process, addresses):
        yield Router(addresses["http"], router.nats_url, process, key)


@contextlib.contextmanager
def start_program(arguments: list[str], log_file: pathlib.Path) -> Iterator[tuple[subprocess.Popen[bytes], dict[str, str]]]:
    """Starts order-router, waits for its addresses, and ends it in order."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ORDER_ROUTER_")}
    environment["PATH"] = f"{REPOSITORY / '.tools/bin'}:{environment.get('PATH', '')}"
    with log_file.open("wb") as log:
        command = [router_program(), *arguments]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, env=environment)
    try:
        yield process, dict(part.split("=", 1) for part in ready_line(process, log_file).split()[1:])
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(STOP_S)


def ready_line(process: subprocess.Popen[bytes], log: pathlib.Path) -> str:
    """Waits for the line with the router's addresses."""
    assert process.stdout is not None
    received, end = b"", time.monotonic() + READY_S
    while time.monotonic() < end:
        if not select.select([process.stdout], [], [], POLL_S)[0]:
            continue
        chunk = os.read(process.stdout.fileno(), CHUNK_BYTES)
        received += chunk
        for line in received.decode().splitlines(keepends=True):
            if line.startswith("ready http=") and line.endswith("\n"):
                return line.strip()
        if not chunk:
            break
    raise AssertionError(f"the router did not start: {log.read_text(errors='replace')[-2000:]}")


class Proxy:
    """A TCP proxy in front of the sidecar. It can cut every connection and refuse new ones."""

    def __init__(self, url: str) -> None:
        host, port = url.removeprefix("http://").split(":")
        self._target = (host, int(port))
        self._server = socket.create_server(("127.0.0.1", 0))
        self._sockets: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._refuses = False
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.getsockname()[1]}"

    def cut(self) -> None:
        """Ends every connection and refuses new ones."""
        with self._lock:
            self._refuses = True
            for one in self._sockets:
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)

    def restore(self) -> None:
        with self._lock:
            self._refuses = False

    def close(self) -> None:
        self.cut()
        self._server.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            with self._lock:
                refuses = self._refuses
            if refuses:
                client.close()
                continue
            server = socket.create_connection(self._target)
            with self._lock:
                self._sockets |= {client, server}
            for source, target in ((client, server), (server, client)):
                threading.Thread(target=self._pump, args=(source, target), daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while chunk := source.recv(CHUNK_BYTES):
                target.sendall(chunk)
        for one in (source, target):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        with self._lock:
            self._sockets.discard(source)
        source.close()
