"""A lost connection is visible, and what was missed follows when it is back."""

from __future__ import annotations

import re
import uuid

from playwright.sync_api import expect

from router import Proxy, Router


def test_lost_stream_shows_since_when_and_is_resumed(router: Router, proxy: Proxy, open_page) -> None:
    account = f"lost-{uuid.uuid4().hex[:8]}"
    requested = []
    page = open_page(proxy.url, "blotter", before=lambda page: page.on("request", lambda one: requested.append(one)))
    page.get_by_label("Account").fill(account)
    expect(page.locator(".list-count")).to_have_text("0 orders")
    router.submit(account_id=account)
    expect(page.locator(".list-count")).to_have_text("1 order")
    proxy.cut()
    expect(page.locator(".stale")).to_contain_text(re.compile(r"Stale since \d\d:\d\d:\d\d UTC"))
    expect(page.locator(".connection")).to_have_text("Stale")
    missed = [router.submit(account_id=account)["client_order_id"] for _ in range(3)]
    expect(page.locator(".list-count")).to_have_text("1 order")
    proxy.restore()
    expect(page.locator(".connection")).to_have_text("Live")
    expect(page.locator(".stale")).to_have_count(0)
    expect(page.locator(".list-count")).to_have_text("4 orders")
    rows = page.locator(".list-row")
    expect(rows).to_have_count(4)
    for client_order_id in missed:
        expect(rows.filter(has_text=client_order_id)).to_have_count(1)
    streams = [one for one in requested if one.url.endswith("/events")]
    assert streams[-1].all_headers().get("last-event-id", "").count("-") == 2


def test_page_says_that_the_state_is_old(router: Router, proxy: Proxy, open_page) -> None:
    page = open_page(proxy.url)
    expect(page.locator(".banner")).to_contain_text("Active")
    proxy.cut()
    expect(page.locator(".banner-old")).to_contain_text(re.compile(r"As of \d\d:\d\d:\d\d UTC"))
    # A change that gets no answer is not reported as made.
    page.locator(".banner").get_by_role("button", name="Halt trading…").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Reason", exact=True).fill("no answer")
    dialog.get_by_role("button", name="Halt trading now").click()
    expect(dialog.get_by_role("alert")).to_contain_text("The request may have taken effect")
    assert router.call("state")["trading_state"] == "active"


def test_page_that_finds_no_sidecar_offers_to_try_again(router: Router, proxy: Proxy, open_page) -> None:
    def refuse(page) -> None:
        page.route(re.compile("/orders/log"), lambda route: route.abort())

    page = open_page(proxy.url, before=refuse)
    expect(page.get_by_role("alert")).to_contain_text("No answer from the sidecar.")
    page.unroute_all()
    page.get_by_role("button", name="Try again").click()
    expect(page.locator(".connection")).to_have_text("Live")
