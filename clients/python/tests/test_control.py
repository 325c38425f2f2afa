"""Operator control: halt, resume, locks, limits; each test has a router of its own or an account of its own."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import TypedDict

import pytest

from order_router import AsyncRouter, LockScopeAccount, OrderDenied, ProblemError

from .servers import Dev, buy, resting, run



class Signed(TypedDict):
    """Who changes something, and why."""

    actor: str
    reason: str


ACTOR: Signed = {"actor": "test", "reason": "test of the client"}


def test_halt_cancels_and_resume_opens(own_router: Callable[..., Dev]) -> None:
    router = own_router("brokers.paper_ibkr.rest_fill=never")

    async def check() -> None:
        async with AsyncRouter(router.options("fund")) as client:
            assert (await client.state()).trading_state == "active"
            order = await client.submit(resting())
            halted = await client.halt(**ACTOR)
            assert (halted.trading_state, halted.cancelled, halted.remaining_total) == ("halted", 1, 0)
            assert (await client.get(order)).status == "cancelled"
            with pytest.raises(OrderDenied, match="trading_halted"):
                await client.submit(buy())
            resumed = await client.resume(**ACTOR)
            assert resumed.trading_state == "active" and resumed.version > halted.version
            assert (await client.submit(buy())).status == "filled"
            changed = await client.set_state(**ACTOR, daily_loss_limit=Decimal("20000.5"))
            assert changed.daily_loss_limit == Decimal("20000.5")
            with pytest.raises(ProblemError) as caught:
                await client.set_state(actor="test", reason="")
            assert caught.value.code == "invalid_field"

    run(check())


def test_lock_and_lift(router: Dev, account: str) -> None:
    async def check() -> None:
        async with AsyncRouter(router.options(account)) as client:
            lock = await client.lock(LockScopeAccount(account_id=account), **ACTOR)
            assert lock.scope == LockScopeAccount(account_id=account) and lock.actor == "test"
            assert lock.latch_id in {one.latch_id for one in (await client.locks()).items}
            with pytest.raises(OrderDenied):
                await client.submit(buy())
            assert (await client.lift(lock, **ACTOR)).latch_id == lock.latch_id
            with pytest.raises(ProblemError, match="not_found"):
                await client.lift(lock.latch_id, **ACTOR)
            assert (await client.submit(buy())).status == "filled"

    run(check())


def test_what_the_router_says_about_itself(router: Dev, account: str) -> None:
    async def check() -> None:
        async with AsyncRouter(router.options(account)) as client:
            brokers = await client.brokers()
            assert set(brokers.brokers) == {"binance", "ibkr"}
            assert {"GTC", "IOC", "FOK"} <= set(brokers.details[0].times_in_force)
            health = await client.health()
            assert health.accepts_orders and health.redis.status == "ok"
            limits = await client.limits()
            assert limits.limits is not None and limits.limits.risk["base_currency"] == "USD"

    run(check())


def test_quotes_move_the_price_of_market_orders(own_router: Callable[..., Dev]) -> None:
    router = own_router()

    async def check() -> None:
        async with AsyncRouter(router.options("fund")) as client:
            await client.publish_quote("binance.spot", "btc/usdt", bid="30100", ask="30101")
            price = None
            while price != Decimal("30100.5"):  # workers listen to quotes: the next order may be faster
                report = await client.submit(buy(order_type="market", price=None))
                price = report.avg_price

    run(check())
