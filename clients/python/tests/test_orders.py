"""Orders through both doors, against a running router."""

from __future__ import annotations

import asyncio
import uuid
from decimal import Decimal

import pytest

from order_router import (
    AsyncRouter,
    ExecutionIntent,
    NoReply,
    OrderDenied,
    OrderKey,
    ProblemError,
    RetryPolicy,
)

from .servers import Dev, buy, resting, run


def test_submit_returns_the_report_and_replays_a_known_id(router: Dev, account: str) -> None:
    async def check() -> None:
        async with AsyncRouter(router.options(account)) as client:
            report = await client.submit(buy(client_order_id="first", tags=["strategy:x"]))
            assert (report.status, report.account_id, report.client_order_id) == ("filled", account, "first")
            assert report.quantity == report.filled_quantity == Decimal("0.001")
            assert report.avg_price == 30000 and report.leaves_quantity == 0 and report.fills[0].price == 30000
            assert report.is_final and not report.is_receipt and report.tags == ("strategy:x",)
            again = await client.submit(buy(client_order_id="first", tags=["strategy:x"]))
            assert (again.order_id, again.version) == (report.order_id, report.version)
            assert await client.get(report) == again
            by_id = OrderKey(broker="binance", client_order_id="first")
            assert (await client.get(by_id)).order_id == report.order_id
            named = await client.submit(buy())
            assert named.order_id != report.order_id and len(named.client_order_id) == 36

    run(check())


def test_problems_are_exceptions(router: Dev, account: str) -> None:
    async def refused(client: AsyncRouter, intent: ExecutionIntent) -> ProblemError:
        with pytest.raises(ProblemError) as caught:
            await client.submit(intent)
        return caught.value

    async def check() -> None:
        async with AsyncRouter(router.options(account)) as client:
            denied = await refused(client, buy(quantity="1", client_order_id="too-large"))
            assert isinstance(denied, OrderDenied)
            assert (denied.code, denied.status, denied.retryable) == ("order_size_exceeded", 400, False)
            assert denied.client_order_id == "too-large" and denied.detail and denied.rule_id == "order_size"
            assert isinstance(denied.metadata["limit"], Decimal)
            again = await refused(client, buy(quantity="1", client_order_id="too-large"))
            assert (again.code, again.detail) == (denied.code, denied.detail)
            field = await refused(client, buy(price="30000.001"))
            assert (field.code, field.field, type(field)) == ("invalid_field", "price", ProblemError)
            pair = await refused(client, buy(symbol="DOGEUSDT"))
            assert (pair.code, pair.status) == ("unsupported_pair", 404)
            await client.submit(buy(client_order_id="used"))
            conflict = await refused(client, buy(client_order_id="used", quantity="0.002"))
            assert (conflict.code, conflict.status) == ("client_order_id_conflict", 409)
            with pytest.raises(ProblemError) as unknown:
                await client.get(OrderKey(broker="binance", client_order_id="never-sent"))
            assert unknown.value.code == "unknown_order"

    run(check())


def test_late_intent_is_never_executed(router: Dev, account: str) -> None:
    async def check() -> None:
        async with AsyncRouter(router.options(account)) as client:
            with pytest.raises(ProblemError) as caught:
                # The deadline has passed before the request arrives.
                await client.submit(buy(client_order_id="late"), timeout=0.000001)
            assert caught.value.code == "intent_expired"
            with pytest.raises(ProblemError, match="unknown_order"):
                await client.get(OrderKey(broker="binance", client_order_id="late"))

    run(check())


def test_cancel_and_cancel_all(router: Dev, account: str) -> None:
    async def check() -> None:
        async with AsyncRouter(router.options(account)) as client:
            open_order = await client.submit(resting())
            assert (open_order.status, open_order.is_open) == ("partially_filled", True)
            ended = await client.cancel(open_order)
            assert (ended.status, ended.reason and ended.reason.code) == ("cancelled", "cancel_requested")
            with pytest.raises(ProblemError) as closed:
                await client.cancel(open_order)
            assert (closed.value.code, closed.value.status) == ("order_closed", 409)
            submitted = await asyncio.gather(*(client.submit(resting(quantity=20)) for _ in range(3)))
            answer = await client.cancel_all("ibkr", symbol="AAPL")
            assert {one.order_id for one in answer.cancelled} == {one.order_id for one in submitted}
            assert (answer.cancelled_total, answer.remaining_total) == (3, 0)
            assert (await client.cancel_all("ibkr")).cancelled_total == 0

    run(check())


def test_heartbeat_arms_and_disarms(router: Dev, account: str) -> None:
    async def check() -> None:
        async with AsyncRouter(router.options(account)) as client:
            armed = await client.heartbeat(60_000)
            assert (armed.account_id, armed.state, armed.timeout_ms) == (account, "armed", 60_000)
            again = await client.heartbeat(60_000)
            assert armed.expires_at and again.expires_at and again.expires_at >= armed.expires_at
            with pytest.raises(ProblemError) as refused:
                await client.heartbeat(0)
            assert (refused.value.code, refused.value.field) == ("invalid_field", "reason")
            assert (await client.heartbeat(0, actor="test", reason="done")).state == "disarmed"

    run(check())


def test_durable_door_stores_then_reports(router: Dev, account: str) -> None:
    async def check() -> None:
        async with AsyncRouter(router.options(account)) as client:
            stored = await client.submit_durable(buy(client_order_id="durable"))
            assert (stored.stream, stored.intent.account_id) == ("ORDER_INTENTS", account) and stored.sequence > 0
            report = await client.wait_report(stored)
            assert (report.status, report.client_order_id) == ("filled", "durable")
            assert (await client.wait_report(stored)).order_id == report.order_id
            # Published again under its id: stored again, executed once.
            again = await client.submit_durable(buy(client_order_id="durable"))
            assert (await client.wait_report(again)).order_id == report.order_id
            denied = await client.submit_durable(buy(quantity=1))
            with pytest.raises(OrderDenied, match="order_size_exceeded"):
                await client.wait_report(denied)
            with pytest.raises(ProblemError, match="no stream accepts"):
                await client.submit_durable(buy(broker="nasdaq"), timeout=60)

    changed = RetryPolicy(attempts=2, reply_timeout=5.0)

    async def check_many() -> None:
        async with AsyncRouter(router.options(account, retry=changed)) as client:
            stored = await asyncio.gather(*(client.submit_durable(buy()) for _ in range(50)))
            reports = await asyncio.gather(*(client.wait_report(one) for one in stored))
            assert [one.client_order_id for one in reports] == [one.intent.client_order_id for one in stored]

    run(check())
    run(check_many())


def test_many_callers_share_one_connection(router: Dev, account: str) -> None:
    async def check() -> None:
        async with AsyncRouter(router.options(account)) as client:
            ids = [uuid.uuid4().hex for _ in range(200)]
            reports = await asyncio.gather(*(client.submit(buy(client_order_id=one)) for one in ids))
            assert [report.client_order_id for report in reports] == ids
            assert len({report.order_id for report in reports}) == len(ids)

    run(check())


def test_stored_intent_without_a_report_is_said_to_be_so(router: Dev, account: str) -> None:
    async def check() -> None:
        async with AsyncRouter(router.options(account)) as client:
            stored = await client.submit_durable(resting(account_id=account))
            assert client._replies is not None
            client._replies.forget(stored.reply_token)  # as after a lost connection
            report = None
            while report is None:  # the time limit is that of run()
                try:
                    report = await client.wait_report(stored, timeout=0.1)
                except NoReply:
                    await asyncio.sleep(0.05)
            assert report.status == "partially_filled"

    run(check())
