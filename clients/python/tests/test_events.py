"""Iterators over reports, alerts and the journal: complete, in order, resumable, bounded."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import pytest

from order_router import (
    AsyncRouter,
    ExecutionReport,
    JournalEntry,
    LockScopeAccount,
    OrderDenied,
    ProblemError,
    StreamGap,
    models,
)
from order_router._follow import BATCH

from .servers import Dev, Proxy, buy, options, resting, run


def test_reports_arrive_in_order_and_continue_from_a_sequence(router: Dev, account: str) -> None:
    async def check() -> None:
        async with AsyncRouter(router.options(account)) as client:
            async with client.reports(account=account) as reports:
                begin = reports.sequence
                orders = [await client.submit(buy()) for _ in range(3)]
                denied = buy(quantity=1, client_order_id="denied")
                with pytest.raises(OrderDenied):
                    await client.submit(denied)
                found = [await anext(reports) for _ in range(2)]
                assert [one.order_id for one in found] == [one.order_id for one in orders[:2]]
                place = reports.sequence
            async with client.reports(account=account, after=place) as later:
                third, refused = await anext(later), await anext(later)
                assert third.order_id == orders[2].order_id
                assert (refused.client_order_id, refused.status) == ("denied", "rejected")
                assert later.sequence > place > begin
                assert await later.read(0.2) is None

    run(check())


def test_read_that_times_out_loses_nothing(router: Dev, account: str) -> None:
    async def check() -> None:
        async with AsyncRouter(router.options(account)) as client, client.reports(account=account) as reports:
            submitting = asyncio.ensure_future(asyncio.gather(*(client.submit(buy()) for _ in range(40))))
            found: list[ExecutionReport] = []
            while len(found) < 40:  # the time limit is that of run()
                report = await reports.read(0.002)
                found += [report] if report else []
            orders = await submitting
            assert {one.order_id for one in found} == {one.order_id for one in orders}

    run(check())


def test_journal_holds_every_kind_of_entry(router: Dev, account: str) -> None:
    async def check() -> None:
        async with AsyncRouter(router.options(account)) as client, client.journal() as journal:
            begin = journal.sequence
            order = await client.submit(resting())
            await client.note(order, actor="desk", notes="checked", tags=["reviewed"])
            await client.adjust(
                models.AdjustmentRequest(account_id=account, actor="desk", reason="deposit", cash=Decimal("2500.5"))
            )
            lock = await client.lock(LockScopeAccount(account_id=account), actor="desk", reason="review")
            await client.lift(lock, actor="desk", reason="done")
            wanted = ["report", "note", "adjustment", "lock", "lock"]
            found: list[JournalEntry] = []
            while len(found) < len(wanted):
                entry = await anext(journal)
                if entry.subject.endswith(f".{account}"):
                    found.append(entry)
            assert [entry.kind for entry in found] == wanted
            assert [entry.sequence for entry in found] == sorted({entry.sequence for entry in found})
            report, note, adjustment, locked, lifted = (entry.event for entry in found)
            assert isinstance(report, ExecutionReport) and report.settlement is not None
            assert isinstance(note, models.NoteEvent) and note.tags == ("reviewed",)
            assert isinstance(adjustment, models.AdjustmentEvent) and adjustment.cash == Decimal("2500.5")
            assert isinstance(locked, models.LockEvent) and locked.event == "locked"
            assert isinstance(lifted, models.LockEvent) and lifted.event == "lifted"
            assert lifted.lock.scope == LockScopeAccount(account_id=account)
            async with client.journal(after=begin) as again:
                repeated = [await anext(again) for _ in range(journal.sequence - begin)]
            assert [one for one in repeated if one.subject.endswith(f".{account}")] == found

    run(check())


def test_alerts_iterator_reports_a_crossed_limit_and_a_lock(router: Dev, account: str) -> None:
    async def check() -> None:
        async with AsyncRouter(router.options(account)) as client, client.alerts(account=account) as alerts:
            # 0.6 and 1.2 and 1.8 of a position of at most 2 BTC: above 80 %.
            for _ in range(3):
                await client.submit(buy(quantity="0.6"))
            alert = await anext(alerts)
            assert (alert.level, alert.account_id, alert.symbol) == ("alert", account, "BTCUSDT")
            assert alert.rule_id in ("position_limit", "max_notional") and isinstance(alert.metadata["limit"], Decimal)
            place = alerts.sequence
            with pytest.raises(OrderDenied):
                await client.submit(buy(quantity="0.6"))
            async with client.alerts(account=account, level="lock", after=place) as locks:
                assert (await anext(locks)).level == "lock"
            listed = await client.rest.recent_alerts(account=account)
            assert alert.alert_id in {one.alert_id for one in listed}

    run(check())


def test_slow_reader_is_sent_no_more_than_the_buffer_holds(router: Dev, account: str) -> None:
    async def check() -> None:
        orders = 2 * BATCH + 50
        async with AsyncRouter(router.options(account)) as client, client.reports(account=account) as reports:
            for begin in range(0, orders, 50):
                await asyncio.gather(*(client.submit(buy(quantity="0.00001")) for _ in range(min(50, orders - begin))))
            first = await anext(reports)
            consumer = reports._consumer
            assert consumer is not None
            held = [first]
            while len(held) < orders:
                assert len(consumer._messages) <= BATCH + 32  # entries, and heartbeats of one pull
                held.append(await anext(reports))
            assert len({one.order_id for one in held}) == orders

    run(check(), 180.0)


def test_iterator_survives_lost_connections(router: Dev, account: str) -> None:
    async def check() -> None:
        async with (
            Proxy(router.nats_url) as proxy,
            AsyncRouter(options(proxy.url, account)) as follower,
            AsyncRouter(router.options(account)) as client,
            follower.reports(account=account) as reports,
        ):
            orders = []
            for cut in (False, True, True):
                orders.append(await client.submit(buy()))
                if cut:
                    proxy.cut()
                orders.append(await client.submit(buy()))
            found = [await anext(reports) for _ in orders]
            assert [one.order_id for one in found] == [one.order_id for one in orders]
            # A connection that is silent, and not closed, is noticed by the missing heartbeats.
            proxy.swallow_replies = True
            orders.append(await client.submit(buy()))
            assert await reports.read(0.5) is None
            proxy.swallow_replies = False
            proxy.cut()
            last = await reports.read(60.0)
            assert last is not None and last.order_id == orders[-1].order_id

    run(check(), 120.0)


def test_entries_that_were_lost_on_the_way_are_read_again(router: Dev, account: str) -> None:
    """The server has sent an entry, the client never got it, and the connection is still there."""

    async def check() -> None:
        async with (
            Proxy(router.nats_url) as proxy,
            AsyncRouter(options(proxy.url, account)) as follower,
            AsyncRouter(router.options(account)) as client,
            follower.reports(account=account) as reports,
        ):
            first = await client.submit(buy())
            assert (await anext(reports)).order_id == first.order_id
            proxy.swallow_replies = True
            lost = await client.submit(buy())
            while lost.order_id.encode() not in proxy.swallowed:  # the time limit is that of run()
                await asyncio.sleep(0.01)
            proxy.swallow_replies = False
            last = await client.submit(buy())
            assert [(await anext(reports)).order_id for _ in range(2)] == [lost.order_id, last.order_id]

    run(check())


def test_outage_is_reported_and_reading_continues_after_it(router: Dev, account: str) -> None:
    async def check() -> None:
        async with Proxy(router.nats_url) as proxy:
            settings = options(proxy.url, account, outage_timeout=1.0)
            async with (
                AsyncRouter(settings) as follower,
                AsyncRouter(router.options(account)) as client,
                follower.reports(account=account) as reports,
            ):
                proxy.swallow_replies = True
                with pytest.raises(ProblemError) as caught:
                    await anext(reports)
                assert (caught.value.code, caught.value.retryable) == ("bus_unavailable", True)
                order = await client.submit(buy())
                proxy.swallow_replies = False
                proxy.cut()
                found = None
                while found is None:  # the time limit is that of run()
                    try:
                        found = await reports.read(5.0)
                    except ProblemError:
                        continue
                assert found.order_id == order.order_id

    run(check(), 120.0)


def test_lost_entries_are_a_gap_and_not_silence(router: Dev, account: str) -> None:
    async def check() -> None:
        async with AsyncRouter(router.options(account)) as client:
            await client.submit(buy())
            async with client.journal() as journal:
                end = journal.sequence
            ahead = client.journal(after=end + 1_000_000)
            with pytest.raises(StreamGap) as caught:
                await anext(ahead)
            assert caught.value.next_sequence >= end + 1
            await client.submit(buy())
            assert (await anext(ahead)).sequence >= end + 1
            await ahead.aclose()
            with pytest.raises(StopAsyncIteration):
                await anext(ahead)
            with pytest.raises(ValueError):
                client.journal(after=-1)

    run(check())
