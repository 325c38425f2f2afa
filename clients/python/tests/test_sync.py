"""The synchronous client: the same calls from threads."""

from __future__ import annotations

import inspect
import threading
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import pytest

from order_router import AsyncRouter, NotConnected, OrderDenied, OrderKey, Router

from .servers import Dev, buy, resting


def test_every_call_of_the_asynchronous_client_is_there() -> None:
    for name, method in inspect.getmembers(AsyncRouter, inspect.isfunction):
        if name.startswith("_"):
            continue
        own = inspect.signature(getattr(Router, name)).parameters
        assert list(own) == list(inspect.signature(method).parameters), name


def test_orders_events_and_control(router: Dev, account: str) -> None:
    with Router(router.options(account)) as client:
        with client.reports(account=account) as reports:
            report = client.submit(buy(client_order_id="one"))
            assert next(reports).order_id == report.order_id
            assert reports.read(0.1) is None and reports.sequence > 0
        assert client.get(OrderKey(broker="binance", client_order_id="one")).order_id == report.order_id
        assert client.wait_report(client.submit_durable(buy())).avg_price == Decimal(30000)
        open_order = client.submit(resting())
        assert client.cancel(open_order).status == "cancelled"
        assert client.cancel_all("ibkr").cancelled_total == 0
        assert client.heartbeat(60_000).state == "armed"
        assert client.heartbeat(0, reason="done").state == "disarmed"
        assert client.state().trading_state == "active" and client.health().accepts_orders
        with pytest.raises(OrderDenied):
            client.submit(buy(quantity=1))
        found = [one.external_order_id for one in client.every_order(account=account)]
        assert report.order_id in found and open_order.order_id in found
        assert client.orders(account=account, client_order_id="one").metadata.total == 1
        assert client.executions(account=account).metadata.total >= 2
        assert client.recent_alerts(account=account) is not None


def test_many_threads_share_a_client(router: Dev, account: str) -> None:
    with Router(router.options(account)) as client, ThreadPoolExecutor(8) as pool:
        reports = list(pool.map(lambda n: client.submit(buy(client_order_id=f"t{n}")), range(64)))
    assert len({report.order_id for report in reports}) == 64
    assert not [thread for thread in threading.enumerate() if thread.name == "order-router"]


def test_client_that_is_not_connected(router: Dev, account: str) -> None:
    client = Router(router.options(account))
    with pytest.raises(NotConnected):
        client.state()
    client.disconnect()
    client.connect()
    client.connect()
    assert client.state().version >= 0
    client.disconnect()
    client.disconnect()
    with pytest.raises(TypeError):
        client.close()  # type: ignore[call-arg]  # closes a position, never by mistake
