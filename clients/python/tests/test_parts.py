"""The parts that need no server: retries, deadlines, subjects, options."""

from __future__ import annotations

import asyncio
import datetime
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from order_router import NoReply, NotConnected, Options, OrderDenied, OrderKey, ProblemError, RetryPolicy, subjects
from order_router._bus import error_of, fault, without_secrets
from order_router._retry import repeat
from order_router._time import Deadline
from order_router.client import AsyncRouter

from .servers import run

QUICK = RetryPolicy(attempts=4, reply_timeout=0.2, first_delay=0.001, max_delay=0.002, grace=0.1)
LOST = NoReply("lost")
BUSY = fault("queue_full", "busy")
AWAY = fault("bus_unavailable", "away")
HALTED = fault("trading_halted", "halted")


def answers(*results: Any) -> tuple[Callable[[float], Any], list[float]]:
    """Returns a call that gives these results, the last one for ever, and the list of its waits."""
    waits: list[float] = []

    async def send(wait: float) -> Any:
        waits.append(wait)
        result = results[min(len(waits), len(results)) - 1]
        if isinstance(result, Exception):
            raise result
        return result

    return send, waits


@pytest.mark.parametrize(
    ("results", "calls", "outcome"),
    [
        (["report"], 1, "report"),
        ([BUSY, "report"], 2, "report"),
        ([LOST, "report"], 2, "report"),
        (["receipt", LOST, "report"], 3, "report"),
        ([HALTED], 1, HALTED),
        ([LOST, HALTED], 2, HALTED),
        ([BUSY], 4, BUSY),
        ([LOST], 4, LOST),
        ([LOST, AWAY], 4, LOST),
        (["receipt", AWAY], 4, "receipt"),
        (["receipt"], 4, "receipt"),
    ],
)
def test_call_is_repeated_until_its_outcome_is_certain(results: list[Any], calls: int, outcome: Any) -> None:
    send, waits = answers(*results)
    work = repeat(send, Deadline(5.0), QUICK, is_settled=lambda answer: answer != "receipt")
    if isinstance(outcome, Exception):
        with pytest.raises(type(outcome)) as caught:
            run(work)
        assert caught.value is outcome
    else:
        assert run(work) == outcome
    assert len(waits) == calls


def test_retries_end_with_the_deadline() -> None:
    send, waits = answers(BUSY)
    patient = RetryPolicy(attempts=20, first_delay=0.2, max_delay=0.2)
    with pytest.raises(ProblemError):
        run(repeat(send, Deadline(0.3), patient))
    assert len(waits) <= 3


def test_uncertain_call_is_asked_for_after_its_deadline() -> None:
    waits: list[float] = []

    async def send(wait: float) -> str:
        waits.append(deadline.remaining())
        if len(waits) == 1:
            await asyncio.sleep(0.1)
            raise LOST
        return "refused as expired"

    deadline = Deadline(0.05)
    assert run(repeat(send, deadline, RetryPolicy(first_delay=0.01, grace=5.0))) == "refused as expired"
    assert waits[1] < 0


def test_limits_of_policies_and_deadlines() -> None:
    for bad in ({"attempts": 0}, {"attempts": 21}, {"reply_timeout": 0}, {"grace": -1}):
        with pytest.raises(ValueError):
            RetryPolicy(**bad)
    for seconds in (0, -1, 24 * 3600 + 1):
        with pytest.raises(ValueError):
            Deadline(seconds)
    header = datetime.datetime.fromisoformat(Deadline(10).header.replace("Z", "+00:00"))
    ahead = header - datetime.datetime.now(datetime.timezone.utc)
    assert 8 < ahead.total_seconds() <= 10
    policy = RetryPolicy(first_delay=0.1, max_delay=0.3)
    assert all(0.05 <= policy.delay(1) <= 0.1 and 0.15 <= policy.delay(9) <= 0.3 for _ in range(50))


def test_subjects_hold_one_token_where_the_contract_has_one() -> None:
    assert subjects.order("submit", "binance", "fund-7") == "orders.submit.binance.fund-7"
    assert subjects.reports() == "orders.reports.*.*"
    assert subjects.alerts("lock", "fund-7") == "risk.alerts.lock.fund-7"
    assert subjects.quote("binance.spot", "btc/usdt") == "market.quotes.binance.spot.BTCUSDT"
    assert subjects.quote("ibkr.paper", "BRK.B") == "market.quotes.ibkr.paper.BRK%2EB"
    for bad in ("", "a.b", "*", ">", "a b", "x" * 65, "a\r\nPUB"):
        with pytest.raises(ValueError):
            subjects.order("submit", "binance", bad)
        with pytest.raises(ValueError):
            subjects.quote(bad, "BTCUSDT") if bad != "a.b" and len(bad) < 65 else subjects.order("get", bad, "a")


def test_errors_carry_what_programs_decide_by() -> None:
    document = {"type": "/problems/risk_locked", "title": "t", "status": 400, "detail": "d", "code": "risk_locked",
                "rule_id": "stop_loss", "metadata": {"value": 3, "limit": "2"}, "client_order_id": "c"}  # fmt: skip
    denied = error_of(document)
    assert isinstance(denied, OrderDenied) and str(denied) == "risk_locked: d"
    assert (denied.code, denied.status, denied.retryable, denied.detail) == ("risk_locked", 400, False, "d")
    assert (denied.rule_id, denied.client_order_id, denied.metadata["value"]) == ("stop_loss", "c", Decimal(3))
    assert error_of({**document, "code": "later", "status": 503}).retryable
    assert not error_of({**document, "code": "later", "status": 422}).retryable
    assert (LOST.code, LOST.retryable) == ("no_reply", True)


def test_secrets_are_in_no_text() -> None:
    secret = "hush-hush"
    url = f"nats://u:{secret}@127.0.0.1:1"
    options = Options(nats_url=url, api_key=secret, nats_password=secret, nats_token=secret, connect_timeout=0.5)
    assert secret not in repr(options)
    assert secret not in without_secrets(options.nats_url)

    async def connect() -> None:
        router = AsyncRouter(options)
        with pytest.raises(ProblemError) as caught:
            await router.connect()
        await router.disconnect()
        assert caught.value.code == "bus_unavailable" and caught.value.retryable
        assert secret not in str(caught.value) and "127.0.0.1:1" in str(caught.value)

    run(connect(), 30.0)


def test_options_come_from_the_variables_of_the_command_line(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"NATS_URL": "nats://n:1", "HTTP_ADDR": "h:2", "API_KEY": "k", "NATS_USER": "u"}.items():
        monkeypatch.setenv(f"ORDER_ROUTER_{name}", value)
    options = Options()
    assert (options.nats_url, options.http_url, options.api_key) == ("nats://n:1", "http://h:2", "k")
    assert (options.nats_user, options.nats_password) == ("u", None)


def test_calls_before_connect_are_refused() -> None:
    async def call() -> None:
        router = AsyncRouter(Options(account="a"))
        with pytest.raises(NotConnected, match="not_connected"):
            await router.state()
        with pytest.raises(ValueError, match="either"):
            await router.get(OrderKey(broker="binance"))
        await router.disconnect()
        assert router.rest.is_closed

    run(call())
