"""Iterators over streams that are purged, replaced or hold what the contract does not allow; NATS alone is needed."""

from __future__ import annotations

import json

import nats
import pytest
from nats.aio.client import Client
from nats.js.api import StreamConfig

from order_router import AsyncRouter, MalformedReply, NotConnected, ProblemError, StreamGap, _follow

from .servers import REPOSITORY, Cluster, options, run

SIGNAL = json.loads((REPOSITORY / "subjects/examples/good/risk-signal.alert.json").read_text("utf-8"))
STREAM = "RISK_ALERTS"


class Alerts:
    """The stream of alerts, written by the test."""

    def __init__(self, client: Client) -> None:
        self.client, self.stream = client, client.jetstream()

    async def create(self) -> None:
        await self.stream.add_stream(StreamConfig(name=STREAM, subjects=["risk.alerts.>"]))

    async def add(self, account: str, count: int) -> None:
        for _ in range(count):
            body = json.dumps({**SIGNAL, "account_id": account}).encode()
            await self.stream.publish(f"risk.alerts.alert.{account}", body)

    async def purge(self, below: int) -> None:
        await self.stream.purge_stream(STREAM, seq=below)


@pytest.fixture
def nats_url(cluster: Cluster) -> str:
    return cluster.nats_url


def test_purged_entries_are_a_gap_and_the_rest_is_read(nats_url: str) -> None:
    async def check() -> None:
        alerts = Alerts(await nats.connect(nats_url))
        await alerts.create()
        await alerts.add("fund", 10)
        async with AsyncRouter(options(nats_url, "fund")) as client:
            follower = client.alerts(after=0)
            await anext(follower)
            assert follower.sequence == 1
            await follower.aclose()
            await alerts.purge(6)
            follower = client.alerts(after=1)
            with pytest.raises(StreamGap) as caught:
                await anext(follower)
            assert caught.value.next_sequence == 6 and not caught.value.retryable
            assert [await anext(follower) and follower.sequence for _ in range(5)] == [6, 7, 8, 9, 10]
            await follower.aclose()
        await alerts.client.close()

    run(check())


def test_archived_entries_of_others_are_no_gap(nats_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_follow, "PULL_EXPIRES_S", 0.5)
    monkeypatch.setattr(_follow, "HEARTBEAT_S", 0.1)

    async def check() -> None:
        alerts = Alerts(await nats.connect(nats_url))
        await alerts.create()
        async with AsyncRouter(options(nats_url, "fund")) as client, client.alerts(account="fund") as follower:
            await alerts.add("fund", 1)
            await anext(follower)
            await alerts.add("other", 20)
            while follower.sequence < 21:  # the time limit is that of run()
                assert await follower.read(0.5) is None
            await alerts.purge(22)
            await follower._drop()  # as after a lost connection
            await alerts.add("fund", 1)
            assert (await anext(follower)).account_id == "fund" and follower.sequence == 22
        await alerts.client.close()

    run(check())


def test_another_stream_of_the_same_name_is_noticed(nats_url: str) -> None:
    async def check() -> None:
        alerts = Alerts(await nats.connect(nats_url))
        await alerts.create()
        await alerts.add("fund", 2)
        async with AsyncRouter(options(nats_url, "fund")) as client, client.alerts(after=0) as follower:
            await anext(follower)
            await anext(follower)
            await alerts.stream.delete_stream(STREAM)
            await alerts.create()
            await alerts.add("fund", 3)
            with pytest.raises(StreamGap, match="created again") as caught:
                await anext(follower)
            assert caught.value.next_sequence == 1
            assert [await anext(follower) and follower.sequence for _ in range(3)] == [1, 2, 3]
        await alerts.client.close()

    run(check())


def test_entry_outside_of_the_contract_does_not_stop_the_reader(nats_url: str) -> None:
    async def check() -> None:
        alerts = Alerts(await nats.connect(nats_url))
        await alerts.create()
        await alerts.stream.publish("risk.alerts.alert.fund", b"not json")
        await alerts.add("fund", 1)
        async with AsyncRouter(options(nats_url, "fund")) as client, client.alerts(after=0) as follower:
            with pytest.raises(MalformedReply):
                await anext(follower)
            assert (await anext(follower)).account_id == "fund"
        await alerts.client.close()

    run(check())


def test_consumer_that_never_works_is_an_outage(nats_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server refuses every pull: the reader tries again with growing delays, and then says so."""
    monkeypatch.setattr(_follow, "HEARTBEAT_S", _follow.PULL_EXPIRES_S)

    async def check() -> None:
        alerts = Alerts(await nats.connect(nats_url))
        await alerts.create()
        async with AsyncRouter(options(nats_url, "fund", outage_timeout=1.0)) as client:
            follower = client.alerts()
            with pytest.raises(ProblemError, match="its consumers are lost"):
                await anext(follower)
            info = await alerts.stream.stream_info(STREAM)
            assert info.state.consumer_count <= 5
            await follower.aclose()
        await alerts.client.close()

    run(check())


def test_reads_with_short_timeouts_reach_the_stream(nats_url: str) -> None:
    """The creation of a consumer takes longer than one read: it continues behind the reads."""

    async def check() -> None:
        alerts = Alerts(await nats.connect(nats_url))
        await alerts.create()
        await alerts.add("fund", 1)
        async with AsyncRouter(options(nats_url, "fund")) as client:
            follower, found = client.alerts(after=0), None
            while found is None:  # the time limit is that of run()
                found = await follower.read(0.000001)
            assert found.account_id == "fund"
            await follower.aclose()
        await alerts.client.close()

    run(check(), 30.0)


def test_reader_of_a_disconnected_client_ends_at_once(nats_url: str) -> None:
    async def check() -> None:
        alerts = Alerts(await nats.connect(nats_url))
        await alerts.create()
        client = AsyncRouter(options(nats_url, "fund"))
        await client.connect()
        follower = client.alerts()
        assert await follower.read(0.2) is None
        await client.disconnect()
        with pytest.raises(NotConnected):
            await anext(follower)
        await alerts.client.close()

    run(check(), 20.0)
