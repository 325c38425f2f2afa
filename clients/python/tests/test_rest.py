"""REST: positions, closing, the order log, keys."""

from __future__ import annotations

import asyncio
import hashlib
import pathlib
import secrets
from collections.abc import Callable
from decimal import Decimal

import pytest

from order_router import AsyncRouter, NoReply, ProblemError, RestClient, RetryPolicy, models

from .servers import Dev, buy, resting, run


async def holding_of(client: AsyncRouter, account: str, symbol: str) -> models.Holding:
    """Waits until the sidecar has the position: it follows the journal."""
    while True:  # the time limit is that of run()
        for portfolio in (await client.positions()).items:
            for holding in portfolio.holdings:
                if (holding.account_id, holding.symbol) == (account, symbol):
                    return holding
        await asyncio.sleep(0.05)


def test_position_is_closed_once_per_key(router: Dev, account: str) -> None:
    async def check() -> None:
        async with AsyncRouter(router.options(account)) as client:
            await client.submit(buy(quantity="0.003"))
            holding = await holding_of(client, account, "BTCUSDT")
            assert (holding.quantity, holding.average_price) == (Decimal("0.003"), Decimal(30000))
            part = await client.close(holding, target_quantity="0.001", idempotency_key=f"{account}-part")
            assert (part.order.side, part.order.quantity) == ("sell", Decimal("0.002"))
            assert part.remaining_quantity == 0
            again = await client.close(holding.id, target_quantity="0.001", idempotency_key=f"{account}-part")
            assert again.order.order_id == part.order.order_id
            rest = await client.close(holding)
            assert rest.order.quantity == Decimal("0.001")
            with pytest.raises(ProblemError) as caught:
                await client.close(holding)
            assert caught.value.status in (400, 404)
            with pytest.raises(ProblemError, match="not_found"):
                await client.close("no/such?holding")

    run(check())


def test_order_log_is_read_page_after_page(router: Dev, account: str) -> None:
    async def check() -> None:
        async with AsyncRouter(router.options(account)) as client:
            submitted = [await client.submit(buy(tags=["strategy:pages"])) for _ in range(5)]
            open_order = await client.submit(resting())
            log, expected = client.rest, [one.order_id for one in (*submitted, open_order)]
            while (await log.orders(account=account)).metadata.total < len(expected):
                await asyncio.sleep(0.05)
            assert [one.external_order_id async for one in log.every_order(account=account)] == expected
            page = await log.orders(account=account, sort="asc", limit=2)
            assert [one.external_order_id for one in page.items] == expected[:2] and page.metadata.next
            page = await log.orders(account=account, sort="asc", limit=2, after=page.metadata.next)
            assert [one.external_order_id for one in page.items] == expected[2:4]
            only = await log.orders(account=account, status=["accepted", "partially_filled"], strategy="pages")
            assert only.metadata.total == 0
            only = await log.orders(account=account, status="open", start=open_order.submitted_at)
            assert [one.external_order_id for one in only.items] == [open_order.order_id]
            fills = await log.executions(account=account, limit=500)
            assert fills.metadata.total == 6 and fills.items[-1].price == 30000
            with pytest.raises(ProblemError, match="invalid_field"):
                await log.orders(limit=0)

    run(check())


def test_key_is_sent_and_its_absence_reported(own_router: Callable[..., Dev], tmp_path: pathlib.Path) -> None:
    key = "ork_" + secrets.token_hex(32)
    config = tmp_path / "router.toml"
    config.write_text(
        '[[keys]]\nid = "desk"\ncustomer = "Desk"\n'
        f'sha256 = "{hashlib.sha256(key.encode()).hexdigest()}"\ncapabilities = ["can.read"]\naccounts = ["*"]\n'
    )
    config.chmod(0o600)
    router = own_router(config=config)

    async def check() -> None:
        async with RestClient(router.http_url, api_key=key) as desk, RestClient(router.http_url) as stranger:
            assert (await desk.positions()).items == ()
            with pytest.raises(ProblemError) as caught:
                await stranger.positions()
            assert (caught.value.code, caught.value.status) == ("unauthenticated", 401)
            with pytest.raises(ProblemError, match="not_entitled"):
                await desk.close("00")

    run(check())


def test_sidecar_that_is_not_there(account: str) -> None:
    retry = RetryPolicy(attempts=2, reply_timeout=0.3, grace=0.1)

    async def check() -> None:
        async with RestClient("http://user:hush@127.0.0.1:1", timeout=1.0, retry=retry) as rest:
            with pytest.raises(ProblemError) as caught:
                await rest.positions()
            assert (caught.value.code, caught.value.retryable) == ("bus_unavailable", True)
            assert "hush" not in str(caught.value)

        async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read()
            writer.close()

        server = await asyncio.start_server(silent, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with server, RestClient(f"http://127.0.0.1:{port}", timeout=1.0, retry=retry) as rest:
            with pytest.raises(NoReply):
                await rest.positions()

    run(check(), 30.0)
