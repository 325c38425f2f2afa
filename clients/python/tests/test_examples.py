"""The example programs, as a reader would run them."""

from __future__ import annotations

import os
import pathlib
import re
import subprocess
import sys
from collections.abc import Callable
from decimal import Decimal

import pytest

from order_router import OrderDenied, Router

from .servers import CLIENT, SOON_S, Dev, Process, buy, python, resting, until


def environment(router: Dev) -> dict[str, str]:
    return {
        "ORDER_ROUTER_NATS_URL": router.nats_url,
        "ORDER_ROUTER_HTTP_ADDR": router.http_url.removeprefix("http://"),
        "PYTHONPATH": str(CLIENT / "src"),
    }


def test_algorithm_prints_its_report(router: Dev) -> None:
    printed = python("examples/algorithm.py", environment=environment(router))
    assert re.fullmatch(r"BN-[0-9a-f]+ filled 0\.001 at 30\d{3}(\.\d+)?\n", printed), printed


def test_reconciler_compares_open_orders(own_router: Callable[..., Dev]) -> None:
    router = own_router("brokers.paper_ibkr.rest_fill=never")
    with Router(router.options("fund")) as client:
        client.submit(buy())
        client.cancel(client.submit(resting()))
        open_order = client.submit(resting())
        until("the order log has the orders", lambda: client.orders(account="fund").metadata.total == 3)
    printed = python("examples/reconciler.py", environment=environment(router))
    assert printed == f"{open_order.order_id} agrees\n"


def test_market_data_publisher_moves_the_price(own_router: Callable[..., Dev]) -> None:
    router = own_router()
    done = subprocess.run(
        [sys.executable, "examples/market_data.py"], input="30125.5\n", text=True, capture_output=True, timeout=SOON_S,
        cwd=CLIENT, env={**os.environ, **environment(router)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    with Router(router.options("fund")) as client:
        order = buy(order_type="market", price=None)  # workers listen to quotes: the first order may be faster
        until("market orders fill at the price", lambda: client.submit(order).avg_price == Decimal("30125.5"))


def test_risk_monitor_halts_at_a_lock(own_router: Callable[..., Dev]) -> None:
    router = own_router("brokers.paper_ibkr.rest_fill=never")
    log = pathlib.Path(os.devnull)
    monitor = Process([sys.executable, "examples/risk_monitor.py"], log, environment(router), directory=CLIENT)
    try:
        assert monitor.line("watching from ")
        with Router(router.options("fund")) as client:
            client.submit(resting())
            with pytest.raises(OrderDenied, match="order_size_exceeded"):
                client.submit(buy(quantity=1))
            assert monitor.line("halted: ") == "halted: order_size cancelled 1 still open 0"
            assert client.state().trading_state == "halted"
    finally:
        monitor.stop()


@pytest.mark.parametrize("page", [CLIENT / "README.md", CLIENT.parent.parent / "docs/clients.md"], ids=str)
def test_first_program_of_a_page_runs(router: Dev, page: pathlib.Path) -> None:
    program = page.read_text("utf-8").split("```python\n")[1].split("```")[0]
    assert len(program.strip().splitlines()) <= 5
    assert python("-c", program, environment=environment(router)).startswith("filled 0.001 at ")


def test_examples_are_short() -> None:
    for path in (CLIENT / "examples").glob("*.py"):
        assert len(path.read_text("utf-8").splitlines()) <= 15, path
        assert not re.search(r"^from order_router\.", path.read_text("utf-8"), re.MULTILINE), path
