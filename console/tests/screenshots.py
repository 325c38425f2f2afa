"""Takes the pictures of docs/console.md: starts a router, trades for half a minute, and photographs each view.

    .tools/venv/bin/python console/tests/screenshots.py

Needs what the tests need (`make setup-browser`). Pictures are made smaller with pngquant where it is installed.
"""

from __future__ import annotations

import asyncio
import datetime
import json
import os
import pathlib
import random
import shutil
import subprocess
import tempfile
import threading
import time

import nats
from playwright.sync_api import Page, sync_playwright

from router import REPOSITORY, Router, browser_program, router_program, start_router

IMAGES = REPOSITORY / "docs" / "images"
SETTINGS = """
[[accounts]]
account_id = "fund-8"
daily_loss_limit = "1500"
daily_notional_limit = "200000"
"""
QUOTES = {"binance.spot.BTCUSDT": "29480.25", "binance.spot.ETHUSDT": "1956.4", "ibkr.paper.AAPL": "176.3", "ibkr.paper.MSFT": "318.9"}
INSTRUMENTS = [
    ("binance", "binance.spot", "BTCUSDT", 30_000, 5, 0.25),
    ("binance", "binance.spot", "ETHUSDT", 2_000, 4, 4),
    ("ibkr", "ibkr.paper", "AAPL", 180, 0, 45),
    ("ibkr", "ibkr.paper", "MSFT", 320, 0, 25),
]
TRADING_S = 40


def order(generator: random.Random, account: str) -> dict[str, object]:
    broker, venue, symbol, price, decimals, most = generator.choice(INSTRUMENTS)
    strategy = generator.choice(["momentum", "mean-reversion", "market-making"])
    quantity = f"{max(generator.uniform(0.1, 1) * most, 1 if decimals == 0 else 0):.{decimals}f}"
    return {
        "broker": broker, "venue": venue, "symbol": symbol, "side": generator.choice(["buy", "buy", "buy", "sell"]), "quantity": quantity,
        "price": f"{price * generator.uniform(0.995, 1.005):.2f}", "account_id": account,
        "client_order_id": f"{strategy}-{generator.randrange(16**6):06x}", "tags": [f"strategy:{strategy}"],
    }


def trade(router: Router, end: float) -> None:
    generator = random.Random(4)
    while time.monotonic() < end:
        router.submit(**order(generator, generator.choice(["fund-7", "fund-7", "fund-8", "default"])))
        if generator.random() < 0.02:
            router.submit(quantity="2", account_id="fund-7", client_order_id=f"momentum-{generator.randrange(16**6):06x}")
        time.sleep(generator.expovariate(4))


async def quote(router: Router, is_over: threading.Event) -> None:
    """Publishes prices again and again: an old one is none."""
    client = await nats.connect(router.nats_url)
    while not is_over.is_set():
        for subject, price in QUOTES.items():
            now = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
            await client.publish(f"market.quotes.{subject}", json.dumps({"last": price, "timestamp": now}).encode())
        await asyncio.sleep(2)
    await client.drain()


def photograph(page: Page, name: str) -> None:
    path = IMAGES / f"console-{name}.png"
    page.screenshot(path=path)
    if quantize := shutil.which("pngquant"):
        subprocess.run([quantize, "--force", "--ext", ".png", "--speed", "1", "96", str(path)], check=True)


def photograph_views(router: Router, page: Page) -> None:
    page.goto(f"{router.url}/#overview")
    time.sleep(TRADING_S / 2)
    # Playwright has an event loop of its own in this thread.
    is_over = threading.Event()
    quoting = threading.Thread(target=lambda: asyncio.run(quote(router, is_over)))
    quoting.start()
    time.sleep(TRADING_S / 2 - 8)
    router.submit_open(account_id="fund-7", client_order_id="momentum-open-1", tags=["strategy:momentum"])
    router.submit(account_id="fund-7", client_order_id="momentum-too-large", quantity="2", price="29500", tags=["strategy:momentum"])
    page.wait_for_timeout(6_000)
    photograph(page, "overview")
    page.goto(f"{router.url}/#blotter")
    page.locator(".list-row", has_text="momentum-too-large").click()
    page.get_by_role("complementary", name="Order").get_by_text("Risk figures").wait_for()
    photograph(page, "blotter")
    page.get_by_label("Close the order").click()
    page.goto(f"{router.url}/#positions")
    page.get_by_role("region", name="fund-7").wait_for()
    photograph(page, "positions")
    lock = [router_program(), "--nats-url", router.nats_url, "locks", "set", "--account", "fund-8", "--actor", "mira"]
    subprocess.run([*lock, "--reason", "algorithm under review"], check=True, stdout=subprocess.DEVNULL)
    page.emulate_media(color_scheme="dark")
    page.goto(f"{router.url}/#risk")
    page.get_by_role("region", name="Locks in force").get_by_text("fund-8").wait_for()
    photograph(page, "risk")
    page.get_by_role("region", name="Trading state").get_by_role("button", name="Halt trading…").click()
    page.get_by_label("Reason", exact=True).fill("prices look wrong")
    page.get_by_role("button", name="Halt trading now").click()
    page.get_by_text("Cancelled", exact=True).wait_for()
    page.wait_for_timeout(1_000)
    photograph(page, "halted")
    is_over.set()
    quoting.join()


def main() -> None:
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as directory, start_router(pathlib.Path(directory), SETTINGS) as router, sync_playwright() as playwright:
        threading.Thread(target=trade, args=(router, time.monotonic() + TRADING_S), daemon=True).start()
        arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = playwright.chromium.launch(executable_path=browser_program(), args=arguments)
        photograph_views(router, browser.new_context(viewport={"width": 1360, "height": 800}).new_page())
        browser.close()


if __name__ == "__main__":
    main()
