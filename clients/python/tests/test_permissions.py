"""What the package needs on NATS: the users of deploy/nats.conf, and a user that may only follow events."""

from __future__ import annotations

import re
from typing import Any

import pytest

from order_router import AsyncRouter, ProblemError

from .servers import REPOSITORY, Cluster, buy, options, run

ACTOR = "test"
FOLLOWER = [
    f"$JS.API.{call}"
    for stream in ("ORDER_REPORTS", "RISK_ALERTS")
    for call in (
        f"STREAM.INFO.{stream}",
        f"CONSUMER.CREATE.{stream}.>",
        f"CONSUMER.INFO.{stream}.>",
        f"CONSUMER.MSG.NEXT.{stream}.>",
        f"CONSUMER.DELETE.{stream}.>",
    )
]
"""The permissions to publish that README.md names for iterators."""


@pytest.fixture
def users(cluster: Cluster) -> Cluster:
    """A router whose NATS has the users of deploy/nats.conf, with passwords like ``client-test``, and ``follower``."""
    shipped = (REPOSITORY / "deploy/nats.conf").read_text("utf-8")
    accounts = shipped[shipped.index("\naccounts {") :]
    accounts = re.sub(r"\$DEPLOY_NATS_(\w+)_PASSWORD", lambda found: f"{found[1].lower()}-test", accounts)
    allowed = ", ".join(f'"{subject}"' for subject in FOLLOWER)
    permissions = f'publish: {{ allow: [{allowed}] }}, subscribe: {{ allow: ["_INBOX.>"] }}'
    follower = f"{{ user: follower, password: follower-test, permissions: {{ {permissions} }} }}"
    config = cluster.directory / "users.conf"
    config.write_text(accounts.replace("users: [", f"users: [ {follower}", 1))
    cluster.restart_nats("--config", str(config))
    cluster.worker({"ORDER_ROUTER_NATS_USER": "worker", "ORDER_ROUTER_NATS_PASSWORD": "worker-test"})
    return cluster


def as_user(cluster: Cluster, user: str) -> AsyncRouter:
    changes: dict[str, Any] = {"nats_user": user, "nats_password": f"{user}-test"}
    return AsyncRouter(options(cluster.nats_url, "fund", **changes))


async def refused(work: Any) -> None:
    with pytest.raises(ProblemError) as caught:
        await work
    assert (caught.value.code, caught.value.status) == ("not_entitled", 403), caught.value.detail


def test_users_of_the_shipped_configuration(users: Cluster) -> None:
    async def check() -> None:
        async with (
            as_user(users, "client") as algorithm,
            as_user(users, "market") as market,
            as_user(users, "operator") as operator,
            as_user(users, "follower") as follower,
            follower.reports(account="fund") as reports,
            follower.alerts(account="fund") as alerts,
        ):
            report = await algorithm.submit(buy())
            assert (await algorithm.get(report)).status == "filled"
            stored = await algorithm.submit_durable(buy())
            assert (await algorithm.wait_report(stored)).status == "filled"
            assert (await algorithm.cancel_all("binance")).remaining_total == 0
            assert (await algorithm.heartbeat(60_000)).state == "armed"
            assert "binance" in (await algorithm.brokers()).brokers
            await refused(algorithm.halt(actor=ACTOR, reason="not allowed"))
            await refused(algorithm.publish_quote("binance.spot", "BTCUSDT", last=1))
            await refused(anext(algorithm.reports()))
            await market.publish_quote("binance.spot", "BTCUSDT", last="30100")
            assert (await anext(reports)).order_id == report.order_id
            assert await alerts.read(0.1) is None
            await refused(follower.submit(buy()))
            halted = await operator.halt(actor=ACTOR, reason="allowed")
            assert halted.trading_state == "halted"
            assert (await operator.resume(actor=ACTOR, reason="allowed")).trading_state == "active"
            async with operator.journal() as journal:
                assert journal.sequence >= 4

    run(check())


def test_wrong_password_is_said_at_once(users: Cluster) -> None:
    async def check() -> None:
        wrong = options(users.nats_url, "fund", nats_user="client", nats_password="hush", connect_timeout=3.0)
        with pytest.raises(ProblemError) as caught:
            await AsyncRouter(wrong).connect()
        assert caught.value.code == "not_entitled" and "hush" not in caught.value.detail

    run(check(), 20.0)
