"""One Chromium for all tests, and a page that fails its test on any error or request to another host."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import pytest

from router import Proxy, Router, browser_program, missing, router_program, start_router

try:
    from playwright.sync_api import Browser, Page, expect, sync_playwright
except ImportError:
    sync_playwright = None

STEP_MS = 15_000
"""The time limit of whatever the page should do at once, on a busy machine."""
EXPECTED_MESSAGES = ("Failed to load resource",)
"""What Chromium itself writes about a response with an error status, or a lost connection."""


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    if sync_playwright is None:
        missing("there is no playwright for this Python (`make setup-browser` installs it)")
    program = browser_program()
    expect.set_options(timeout=STEP_MS)
    with sync_playwright() as playwright:
        # Chromium's own sandbox does not start for root.
        arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
        chromium = playwright.chromium.launch(executable_path=program, args=arguments)
        yield chromium
        chromium.close()


@pytest.fixture(scope="session")
def router(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Router]:
    with start_router(tmp_path_factory.mktemp("router")) as running:
        yield running


@pytest.fixture
def proxy(router: Router) -> Iterator[Proxy]:
    proxy = Proxy(router.url)
    yield proxy
    proxy.close()


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Returns a function that opens a page. The test fails if a page logs an error, throws, or calls another host."""
    contexts, failures = [], []

    def watch(page: Page, url: str, expected: tuple[str, ...]) -> None:
        def on_request(request) -> None:
            if urlsplit(request.url)[:2] != urlsplit(url)[:2]:
                failures.append(f"a request to another host: {request.url}")

        def on_message(message) -> None:
            if message.type in ("error", "warning") and not message.text.startswith(expected):
                failures.append(f"{message.type}: {message.text}")

        page.on("request", on_request)
        page.on("console", on_message)
        page.on("pageerror", lambda error: failures.append(f"thrown: {error}"))

    def open_one(
        url: str,
        view: str = "overview",
        *,
        scheme: str = "light",
        before: Callable[[Page], None] | None = None,
        expected: tuple[str, ...] = (),
    ) -> Page:
        context = browser.new_context(viewport={"width": 1440, "height": 900}, color_scheme=scheme)
        contexts.append(context)
        context.set_default_timeout(STEP_MS)
        page = context.new_page()
        watch(page, url, EXPECTED_MESSAGES + expected)
        if before:
            before(page)
        page.goto(f"{url}/#{view}")
        return page

    yield open_one
    for context in contexts:
        context.close()
    assert failures == []


@pytest.fixture
def set_lock(router: Router) -> Callable[[str, str], None]:
    """Returns a function that locks an account, as an operator does on the command line."""

    def lock(account: str, reason: str) -> None:
        command = [router_program(), "--nats-url", router.nats_url, "locks", "set", "--account", account]
        subprocess.run([*command, "--actor", "mira", "--reason", reason], check=True, stdout=subprocess.DEVNULL, timeout=30)

    return lock
