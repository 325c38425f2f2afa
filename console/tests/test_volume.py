"""100 000 orders in the list and 500 events a second: the page renders what is visible, and stays quick.

The order log's pages and the event stream are answered by this test instead of the router: filling a real log with
100 000 orders takes longer than all other tests together. The router's own tests measure its pages with a million orders.
"""

from __future__ import annotations

import http.server
import json
import re
import threading
import time
import urllib.request
from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Page, expect

from router import Router

ORDERS = 100_000
EVENTS_PER_SECOND = 500
SECONDS = 10
BATCHES_PER_SECOND = 20
MAX_RENDERED_ROWS = 120
ROW_HEIGHT = 30
ROW_PLACE = """name => {
  const row = [...document.querySelectorAll('.list-row')].find(row => row.textContent.includes(name))
  return row ? { top: row.getBoundingClientRect().top } : null
}"""
"""Where the row of an order is, in pixels from the top of the window. Finds and measures it in one step: a locator finds the
element first, and the list may have replaced it, with 0 as its place, before it is measured."""
ANSWER_MS = 5_000
"""How long the page may take to show another view while events arrive, on a busy machine without a graphics card."""


def order(number: int) -> dict[str, object]:
    when = f"2026-03-02T{number // 3600 % 24:02}:{number // 60 % 60:02}:{number % 60:02}.000000Z"
    return {
        "id": str(number), "external_order_id": f"BN-{number:032}", "correlation_id": f"order-{number}", "account_id": f"fund-{number % 7}",
        "broker": "binance", "venue": "binance.spot", "symbol": "BTCUSDT", "side": "buy", "order_type": "limit", "quantity": "0.12345678",
        "filled_quantity": "0.12345678", "limit_price": "30000.01", "stop_price": None, "status": "filled", "time_in_force": "GTC",
        "submitted_at": when, "expires_at": None, "notes": None, "tags": ["strategy:momentum"], "created_at": when, "updated_at": when,
        "mode": "paper", "reason": None, "executions": [], "executions_total": "0",
    }


class Log:
    """The order log of these tests: orders 1 to `newest`."""

    newest = ORDERS


def answer_page(route) -> None:
    """Answers GET /orders/log as the order log does."""
    asked = parse_qs(urlsplit(route.request.url).query)
    limit, offset = int(asked["limit"][0]), int(asked.get("offset", ["0"])[0])
    newest = min(int(asked["after"][0]) - 1, Log.newest) if "after" in asked else Log.newest
    items = [order(number) for number in range(newest - offset, max(newest - offset - limit, 0), -1)]
    following = items[-1]["id"] if items and items[-1]["id"] != "1" else None
    metadata = {"limit": str(limit), "offset": str(offset), "total": str(Log.newest), "next": following}
    route.fulfill(json={"items": items, "metadata": metadata})


def report(number: int) -> dict[str, object]:
    listed = order(number)
    return {
        "order_id": listed["external_order_id"], "broker_order_id": None, "client_order_id": listed["correlation_id"], "account_id": "fund-1",
        "status": "filled", "broker": "binance", "venue": "binance.spot", "symbol": "BTCUSDT", "side": "sell", "order_type": "limit",
        "time_in_force": "GTC", "price": 30000.01, "quantity": 0.12345678, "filled_quantity": 0.12345678, "leaves_quantity": 0,
        "avg_price": 30000.01, "submitted_at": listed["submitted_at"], "updated_at": listed["updated_at"], "fills": [], "fills_total": 1,
        "tags": [], "mode": "paper", "version": 1, "reason": None,
    }


class Front(http.server.BaseHTTPRequestHandler):
    """Answers GET /events with 500 events a second, then silence; hands every other request to the router."""

    def do_GET(self) -> None:
        if self.path == "/events":
            self.stream()
            return
        request = urllib.request.Request(f"{self.server.router_url}{self.path}", headers={"Accept": self.headers["Accept"] or "*/*"})
        with urllib.request.urlopen(request, timeout=10) as response:
            body = response.read()
            self.send_response(response.status)
            for name in ("Content-Type", "Content-Security-Policy"):
                if value := response.headers.get(name):
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    def stream(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        begun = time.monotonic()
        try:
            for batch in range(SECONDS * BATCHES_PER_SECOND):
                time.sleep(max(0.0, begun + batch / BATCHES_PER_SECOND - time.monotonic()))
                for _ in range(EVENTS_PER_SECOND // BATCHES_PER_SECOND):
                    Log.newest += 1
                    body = json.dumps(report(Log.newest))
                    self.wfile.write(f"event: report\nid: {Log.newest}-0\ndata: {body}\n\n".encode())
                self.wfile.flush()
            while not self.server.is_over:
                time.sleep(0.05)
        except OSError:
            pass

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def front_url(router: Router) -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Front)
    server.router_url = router.url
    Log.newest = ORDERS
    server.is_over = False
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.is_over = True
    server.shutdown()
    Log.newest = ORDERS


def row_top(page: Page, name: str) -> float:
    place: dict[str, float] = page.wait_for_function(ROW_PLACE, arg=name).json_value()
    return place["top"]


def test_list_of_100_000_orders_renders_the_visible_rows_only(router: Router, open_page) -> None:
    page = open_page(router.url, "blotter", before=lambda page: page.route(re.compile("/orders/log"), answer_page))
    expect(page.locator(".list-count")).to_have_text("100,000 orders")
    expect(page.locator(".list-row").first).to_contain_text("order-100000")
    view = page.locator(".list-view")
    for position in (0.25, 0.5, 0.75):
        view.evaluate("(element, position) => { element.scrollTop = element.scrollHeight * position }", position)
        expect(page.locator(".list-row").nth(20)).to_contain_text(f"order-{int(100_000 * (1 - position)) // 1_000 - 1}")
        assert page.locator(".list-row").count() <= MAX_RENDERED_ROWS
    page.get_by_role("grid").focus()
    page.keyboard.press("End")
    expect(page.locator(".list-row", has_text=re.compile(r"order-1\b"))).to_be_visible()
    assert page.locator(".list-row").count() <= MAX_RENDERED_ROWS
    page.keyboard.press("Home")
    expect(page.locator(".list-row").first).to_contain_text("order-100000")


def test_search_reads_every_order_and_says_how_far_it_is(router: Router, open_page) -> None:
    page = open_page(router.url, "blotter", before=lambda page: page.route(re.compile("/orders/log"), answer_page))
    page.get_by_label("Text").fill("order-9942")
    expect(page.locator(".list-count")).to_contain_text(re.compile(r"searched [\d,]+ of 100,000 orders…"))
    expect(page.locator(".list-row").first).to_contain_text("order-99429")
    page.get_by_label("Text").fill("order-99999")
    expect(page.locator(".list-row")).to_have_count(1)


def test_500_events_a_second_leave_the_page_quick(open_page, front_url: str) -> None:
    page = open_page(front_url, "blotter", before=lambda page: page.route(re.compile("/orders/log"), answer_page))
    expect(page.locator(".list-count")).to_have_text(re.compile(r"^10\d,(?!000)"))
    page.evaluate("() => { window.frames_drawn = 0; const next = () => { window.frames_drawn += 1; requestAnimationFrame(next) }; next() }")
    # A reader who has scrolled keeps the rows in view while others arrive above them.
    view = page.locator(".list-view")
    view.evaluate("element => { element.scrollTop = 60000 }")
    page.wait_for_function("() => Number(document.querySelector('.list-row').getAttribute('aria-rowindex')) > 1_900")
    held = page.locator(".list-row:not(:has(.loading))").nth(25)
    expect(held).to_contain_text("order-")
    name = held.locator(".mono").inner_text()
    before, listed = row_top(page, name), page.locator(".list-count").inner_text()
    expect(page.locator(".list-count")).not_to_have_text(listed)
    assert abs(row_top(page, name) - before) <= ROW_HEIGHT
    for title, shown in (("Risk", ".kill-switch"), ("Positions", ".positions"), ("Overview", ".tiles")):
        begun = time.monotonic()
        page.get_by_role("link", name=title, exact=True).first.click()
        expect(page.locator(shown)).to_be_visible()
        assert (time.monotonic() - begun) * 1_000 < ANSWER_MS, title
    assert page.evaluate("window.frames_drawn") > 10
    page.get_by_role("link", name="Blotter", exact=True).click()
    expect(page.locator(".list-count")).to_have_text("105,000 orders")
    assert page.locator(".list-row").count() <= MAX_RENDERED_ROWS
