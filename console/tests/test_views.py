"""Each view with a running router: what a person reads, and what the buttons do."""

from __future__ import annotations

import re
import uuid

from playwright.sync_api import Page, expect

from router import Router, until


def banner(page: Page):
    return page.locator(".banner")


def give_reason(page: Page, reason: str, button: str) -> None:
    dialog = page.get_by_role("dialog")
    confirm = dialog.get_by_role("button", name=button)
    expect(confirm).to_be_disabled()
    dialog.get_by_label("Reason", exact=True).fill(reason)
    confirm.click()


def test_overview_shows_state_limits_health_and_rate(router: Router, open_page) -> None:
    account = f"overview-{uuid.uuid4().hex[:8]}"
    page = open_page(router.url)
    expect(page.locator(".connection")).to_have_text("Live")
    router.submit(account_id=account, quantity="0.1234", price="29999.99")
    expect(banner(page)).to_contain_text("Paper")
    expect(banner(page)).to_contain_text("Active")
    health = page.get_by_role("region", name="Health")
    expect(health).to_contain_text("Healthy")
    expect(health.locator(".chip.good", has_text=re.compile("^ok$"))).to_have_count(5)
    row = page.get_by_role("row").filter(has_text=account)
    expect(row).to_contain_text("3,701.998766")  # 0.1234 × 29999.99, to the last digit
    state = router.call("state")
    limits = page.get_by_role("region", name=re.compile("Limits of the trading day"))
    expect(limits).to_contain_text(f"{state['trading_date']}")
    meter = limits.get_by_role("meter", name=re.compile("Notional routed"))
    expect(meter).to_be_visible()
    expect(page.locator(".tile.wide .tile-note")).to_contain_text(re.compile(r"[1-9]\d* new in a minute"))
    expect(page.locator(".tile").nth(1)).to_contain_text("p99")


def test_overview_lists_why_an_order_was_denied(router: Router, open_page) -> None:
    page = open_page(router.url)
    expect(page.locator(".connection")).to_have_text("Live")
    client_order_id = f"too-large-{uuid.uuid4().hex[:8]}"
    assert router.submit(quantity="2", client_order_id=client_order_id) is None
    row = page.get_by_role("row").filter(has_text=client_order_id).filter(has_text="Order size")
    expect(row).to_contain_text("the order's quantity is 2, above the limit of 0.75 BTCUSDT")
    expect(row).to_contain_text("2 of 0.75 (266.6 %)")
    row.get_by_role("button", name=client_order_id).click()
    order = page.get_by_role("complementary", name="Order")
    expect(order).to_contain_text("Denied by the rule Order size")
    expect(order).to_contain_text("order_size_exceeded")
    figures = order.get_by_role("region", name="Risk figures")
    expect(figures.get_by_role("row").filter(has_text="Position, long")).to_contain_text("2")


def test_blotter_follows_orders_and_filters(router: Router, open_page) -> None:
    account, strategy = f"blotter-{uuid.uuid4().hex[:8]}", f"s{uuid.uuid4().hex[:8]}"
    earlier = [router.submit(account_id=account, tags=[f"strategy:{strategy}"]) for _ in range(2)]
    page = open_page(router.url, "blotter")
    page.get_by_label("Account").fill(account)
    expect(page.locator(".list-count")).to_have_text("2 orders")
    page.get_by_label("Strategy").fill(strategy)
    expect(page.locator(".list-count")).to_have_text("2 orders")
    # A new order appears above them, another account's does not.
    router.submit()
    newest = router.submit_open(account_id=account, tags=[f"strategy:{strategy}"], quantity="999.99", client_order_id=f"open-{strategy}")
    expect(page.locator(".list-count")).to_have_text("3 orders")
    first = page.locator(".list-row").first
    expect(first).to_contain_text("999.99")
    expect(first).to_contain_text("949.99")
    expect(first).to_contain_text("Partly filled")
    page.get_by_label("Status").select_option("open")
    expect(page.locator(".list-count")).to_have_text("1 order")
    page.get_by_label("Status").select_option("filled")
    expect(page.locator(".list-count")).to_have_text("2 orders")
    # An order that leaves the filter leaves the list.
    page.get_by_label("Status").select_option("open")
    expect(page.locator(".list-count")).to_have_text("1 order")
    router.call("orders/ibkr/cancel", {"order_id": newest["order_id"], "account_id": account})
    expect(page.locator(".list-count")).to_have_text("0 orders")
    page.get_by_role("button", name="Clear").click()
    page.get_by_label("Text").fill(earlier[0]["client_order_id"][:20])
    expect(page.locator(".list-count")).to_contain_text("1 found in")
    expect(page.locator(".list-row")).to_have_count(1)


def test_order_shows_its_life_and_takes_a_cancel_and_notes(router: Router, open_page) -> None:
    account = f"life-{uuid.uuid4().hex[:8]}"
    report = router.submit_open(account_id=account, tags=["strategy:momentum"])
    page = open_page(router.url, "blotter")
    page.get_by_label("Account").fill(account)
    page.locator(".list-row").first.click()
    order = page.get_by_role("complementary", name="Order")
    expect(order).to_contain_text("Buy 100 AAPL")
    expect(order.get_by_role("region", name="Fills")).to_contain_text("95")
    order.get_by_label("New note").fill("checked with desk")
    order.get_by_role("button", name="Add").click()
    expect(order.locator(".notes")).to_have_text("checked with desk")
    order.get_by_role("button", name="Cancel…").click()
    give_reason(page, "no longer wanted", "Cancel the order")
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("The order is cancelled")
    expect(dialog).to_contain_text("The reason is a note on the order.")
    dialog.get_by_role("button", name="Close").click()
    versions = order.locator(".versions li")
    expect(versions).to_have_count(2)
    expect(versions.nth(0)).to_contain_text("Partly filled")
    expect(versions.nth(1)).to_contain_text("Cancelled")
    expect(order.locator(".notes")).to_contain_text("Cancel requested: no longer wanted")
    assert router.call(f"orders/{report['order_id']}")["status"] == "cancelled"


def test_positions_are_closed_after_a_reason(router: Router, open_page) -> None:
    account = f"position-{uuid.uuid4().hex[:8]}"
    router.submit(account_id=account, quantity="0.3", price="30100.5")
    page = open_page(router.url, "positions")
    panel = page.get_by_role("region", name=account)
    expect(panel).to_contain_text("30,100.5")
    expect(panel).to_contain_text("−30.15")  # 0.3 × (30000 − 30100.5)
    expect(panel).to_contain_text("15.0 % of 2")
    panel.get_by_role("button", name=f"Close BTCUSDT of {account}").click()
    page.get_by_role("dialog").get_by_label("Quantity to keep").fill("0.1")
    give_reason(page, "winding down", "Send the closing order")
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("The closing order is filled")
    expect(dialog.locator(".result-figures")).to_contain_text("0.2")
    dialog.get_by_role("button", name="Close").click()
    expect(panel.get_by_role("row").filter(has_text="BTCUSDT")).to_contain_text("0.1 long")
    newest = router.call(f"orders/log?account_id={account}&limit=1")["items"][0]
    assert newest["notes"] == "Close requested: winding down"
    # A target that the router refuses shows the router's sentence.
    panel.get_by_role("button", name=f"Close BTCUSDT of {account}").click()
    page.get_by_role("dialog").get_by_label("Quantity to keep").fill("7")
    give_reason(page, "a mistake", "Send the closing order")
    expect(page.get_by_role("dialog").get_by_role("alert")).to_contain_text("allow_increase")


def test_kill_switch_halts_shows_its_result_and_resumes(router: Router, open_page) -> None:
    account = f"halt-{uuid.uuid4().hex[:8]}"
    router.submit_open(account_id=account)
    page = open_page(router.url, "risk")
    page.get_by_role("region", name="Trading state").get_by_role("button", name="Halt trading…").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("button", name="Back").click()
    assert router.call("state")["trading_state"] == "active"
    page.get_by_role("region", name="Trading state").get_by_role("button", name="Halt trading…").click()
    give_reason(page, "prices look wrong", "Halt trading now")
    try:
        expect(dialog).to_contain_text("Trading is halted")
        cancelled, remaining = dialog.locator(".result-figures dd").all_inner_texts()
        assert int(cancelled) >= 1 and remaining == "0"
        dialog.get_by_role("button", name="Close").click()
        expect(banner(page)).to_contain_text("Trading is halted")
        expect(banner(page)).to_contain_text("prices look wrong")
        expect(page).to_have_title(re.compile("^HALTED"))
        assert router.submit(account_id=account) is None
        assert router.call("state")["last_change"]["reason"] == "prices look wrong"
        banner(page).get_by_role("button", name="Resume…").click()
        give_reason(page, "checked", "Resume trading")
        expect(dialog).to_contain_text("Trading is resumed")
        dialog.get_by_role("button", name="Close").click()
        expect(banner(page)).to_contain_text("Active")
        assert router.submit(account_id=account)["status"] == "filled"
    finally:
        router.call("state", {"trading_state": "active", "reason": "the test is over"}, "PUT")


def test_halt_of_another_operator_shows_at_once_on_every_view(router: Router, open_page) -> None:
    page = open_page(router.url, "positions")
    expect(banner(page)).to_contain_text("Active")
    try:
        router.call("state", {"trading_state": "reduce_only", "reason": "winding down"}, "PUT")
        expect(banner(page)).to_contain_text("Reduce only")
        router.call("state", {"trading_state": "halted", "reason": "a fire drill"}, "PUT")
        expect(banner(page)).to_contain_text("a fire drill")
    finally:
        router.call("state", {"trading_state": "active", "reason": "the test is over"}, "PUT")
    expect(banner(page)).to_contain_text("Active")


def test_lock_is_shown_with_its_reason_and_lifted(router: Router, open_page, set_lock) -> None:
    account = f"lock-{uuid.uuid4().hex[:8]}"
    page = open_page(router.url, "risk")
    set_lock(account, "algorithm under review")
    locks = page.get_by_role("region", name="Locks in force")
    row = locks.get_by_role("row").filter(has_text=account)
    expect(row).to_contain_text("algorithm under review")
    expect(row).to_contain_text("mira")
    assert router.submit(account_id=account) is None
    row.get_by_role("button", name=re.compile("^Lift the lock")).click()
    give_reason(page, "reviewed", "Lift the lock")
    expect(page.get_by_role("dialog")).to_contain_text("The lock is lifted")
    page.get_by_role("dialog").get_by_role("button", name="Close").click()
    expect(row).to_have_count(0)
    until("the lock is lifted", lambda: router.submit(account_id=account))


def test_dry_run_is_named_in_the_banner(router: Router, open_page) -> None:
    page = open_page(router.url)
    try:
        router.call("state", {"mode": "dry_run", "reason": "rehearsal"}, "PUT")
        expect(banner(page)).to_contain_text("Dry run")
    finally:
        router.call("state", {"mode": "paper", "reason": "the test is over"}, "PUT")
    expect(banner(page)).to_contain_text("Paper")


def test_live_is_red(router: Router, open_page) -> None:
    def answer_live(page: Page) -> None:
        def handle(route) -> None:
            response = route.fetch()
            route.fulfill(response=response, body=response.text().replace('"mode":"paper"', '"mode":"live"'))

        # No broker of this router trades live: only the word in its answer differs.
        page.route(re.compile(r"/state(\?|$)"), handle)

    page = open_page(router.url, before=answer_live)
    mode = page.locator(".banner.mode-live .banner-mode")
    expect(mode).to_contain_text("Real money")
    red, green, blue = map(int, re.findall(r"\d+", mode.evaluate("element => getComputedStyle(element).backgroundColor"))[:3])
    assert red > 150 and green < 60 and blue < 60
    expect(page).to_have_title(re.compile("^LIVE"))
