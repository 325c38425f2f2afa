"""Workers die, NATS dies, replies are lost: one id is one order, and the client says what it knows."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest

from order_router import AsyncRouter, ExecutionReport, JournalEntry, NoReply, OrderKey, ProblemError, RetryPolicy

from .servers import Cluster, Proxy, buy, options, run

IMPATIENT = RetryPolicy(attempts=2, reply_timeout=0.5, grace=0.5)


async def journaled_orders(client: AsyncRouter) -> list[ExecutionReport]:
    """Returns every report on the journal up to now."""
    reports = []
    async with client.journal() as end, client.journal(after=0) as entries:
        while entries.sequence < end.sequence:
            entry: JournalEntry = await anext(entries)
            if isinstance(entry.event, ExecutionReport):
                reports.append(entry.event)
    return reports


def test_retry_after_a_lost_answer_is_the_same_order(cluster: Cluster) -> None:
    """The worker executes the order, its reply is lost, the worker is killed, another one answers the retry."""

    async def check() -> None:
        worker = await asyncio.to_thread(cluster.worker)
        async with (
            Proxy(cluster.nats_url) as proxy,
            AsyncRouter(options(proxy.url, "fund")) as client,
            AsyncRouter(options(cluster.nats_url, "fund")) as observer,
            observer.reports(account="fund") as reports,
        ):
            await client.submit(buy(client_order_id="before"))
            assert await reports.read(30.0) is not None
            proxy.swallow_replies = True
            submitting = asyncio.ensure_future(client.submit(buy(client_order_id="lost"), timeout=60.0))
            executed = await reports.read(30.0)
            assert executed is not None and executed.client_order_id == "lost"
            worker.kill()
            proxy.swallow_replies = False
            proxy.cut()
            await asyncio.to_thread(cluster.worker)
            report = await submitting
            assert (report.order_id, report.version) == (executed.order_id, executed.version)
            orders = await journaled_orders(observer)
            assert [one.order_id for one in orders if one.client_order_id == "lost"] == [executed.order_id]

    run(check(), 120.0)


def test_order_waits_for_a_worker_within_its_deadline(cluster: Cluster) -> None:
    """No worker is up: nothing is sent, and the retry finds the worker that starts."""

    async def check() -> None:
        first = await asyncio.to_thread(cluster.worker)
        first.kill()
        async with AsyncRouter(options(cluster.nats_url, "fund", retry=IMPATIENT)) as client:
            with pytest.raises(ProblemError) as caught:
                await client.submit(buy(), timeout=0.5)
            # The server may not have seen yet that the worker is gone.
            assert caught.value.code in ("no_worker", "intent_expired") and caught.value.status >= 400
        async with AsyncRouter(options(cluster.nats_url, "fund")) as client:
            submitting = asyncio.ensure_future(client.submit(buy(client_order_id="waits"), timeout=60.0))
            durable = await client.submit_durable(buy(client_order_id="stored"))
            await asyncio.to_thread(cluster.worker)
            assert (await submitting).status == "filled"
            assert (await client.wait_report(durable)).status == "filled"

    run(check(), 120.0)


def test_call_without_any_reply_is_unknown_and_can_be_asked_for(cluster: Cluster) -> None:
    """A worker that is stopped gives no reply; the caller learns the outcome when it continues."""

    async def check() -> None:
        worker = await asyncio.to_thread(cluster.worker)
        async with AsyncRouter(options(cluster.nats_url, "fund", retry=IMPATIENT)) as client:
            os.kill(worker.child.pid, signal.SIGSTOP)
            try:
                with pytest.raises(NoReply) as caught:
                    await client.submit(buy(client_order_id="unknown"), timeout=1.0)
            finally:
                os.kill(worker.child.pid, signal.SIGCONT)
            assert (caught.value.code, caught.value.client_order_id) == ("no_reply", "unknown")
        async with AsyncRouter(options(cluster.nats_url, "fund")) as client:
            # The deadline passed before the worker read the request: it is never executed late.
            with pytest.raises(ProblemError, match="unknown_order"):
                await client.get(OrderKey(broker="binance", client_order_id="unknown"))

    run(check(), 120.0)


def test_calls_and_iterators_survive_a_restart_of_nats(cluster: Cluster) -> None:
    async def check() -> None:
        await asyncio.to_thread(cluster.worker)
        async with (
            AsyncRouter(options(cluster.nats_url, "fund")) as client,
            client.reports(account="fund") as reports,
        ):
            first = await client.submit(buy())
            assert (await anext(reports)).order_id == first.order_id
            await asyncio.to_thread(cluster.restart_nats)
            second = await client.submit(buy(), timeout=60.0)
            found = await reports.read(60.0)
            assert found is not None and found.order_id == second.order_id

    run(check(), 150.0)
