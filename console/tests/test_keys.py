"""The key: asked for once, kept in memory only, and what a key without rights sees."""

from __future__ import annotations

import hashlib
import json
import pathlib
import secrets
import signal
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from router import Router, start_sidecar

KEYS = {name: f"ork_{secrets.token_hex(32)}" for name in ("operator", "reader", "algorithm", "fund", "leaver")}
CAPABILITIES = {
    "operator": ("can.read", "can.route_orders", "can.manage_state"), "reader": ("can.read",), "algorithm": ("can.route_orders",),
    "fund": ("can.read",), "leaver": ("can.read",),
}


def settings(names: list[str]) -> str:
    def block(name: str) -> str:
        accounts = '["fund-7"]' if name == "fund" else '["*"]'
        digest = hashlib.sha256(KEYS[name].encode()).hexdigest()
        capabilities = json.dumps(CAPABILITIES[name])
        return f'[[keys]]\nid = "{name}"\ncustomer = "The {name}"\nsha256 = "{digest}"\ncapabilities = {capabilities}\naccounts = {accounts}\n'

    return "\n".join(map(block, names))


@pytest.fixture(scope="module")
def guarded(router: Router, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Router, pathlib.Path]]:
    """A second sidecar of the router, with keys."""
    config = tmp_path_factory.mktemp("guarded") / "settings.toml"
    config.write_text(settings(list(KEYS)))
    with start_sidecar(router, config, KEYS["operator"]) as running:
        yield running, config


def sign_in(page: Page, key: str) -> None:
    page.get_by_label("API key").fill(key)
    page.get_by_role("button", name="Open the console").click()


def test_key_is_asked_for_and_kept_in_memory_only(guarded, open_page) -> None:
    router, _ = guarded
    page = open_page(router.url)
    sign_in(page, f"ork_{'0' * 64}")
    expect(page.get_by_role("alert")).to_be_visible()
    sign_in(page, KEYS["operator"])
    expect(page.locator(".connection")).to_have_text("Live")
    kept = page.evaluate(
        "JSON.stringify([location.href, document.cookie, {...localStorage}, {...sessionStorage}, history.state, document.documentElement.outerHTML])"
    )
    assert KEYS["operator"] not in kept
    page.reload()
    expect(page.get_by_label("API key")).to_be_visible()
    sign_in(page, KEYS["operator"])
    page.get_by_role("button", name="Forget the key").click()
    expect(page.get_by_label("API key")).to_have_value("")


def test_key_that_may_not_read_is_told_why(guarded, open_page) -> None:
    router, _ = guarded
    page = open_page(router.url)
    sign_in(page, KEYS["algorithm"])
    expect(page.get_by_role("alert")).to_contain_text("the key lacks the capability can.read")


def test_key_without_rights_changes_nothing_and_is_told_why(guarded, open_page) -> None:
    router, _ = guarded
    client_order_id = f"kept-open-{secrets.token_hex(4)}"
    router.submit_open(client_order_id=client_order_id)
    page = open_page(router.url, "blotter")
    sign_in(page, KEYS["reader"])
    page.locator(".banner").get_by_role("button", name="Halt trading…").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Reason", exact=True).fill("I may not")
    dialog.get_by_role("button", name="Halt trading now").click()
    expect(dialog.get_by_role("alert")).to_contain_text("the key lacks the capability can.manage_state")
    dialog.get_by_role("button", name="Back").click()
    page.locator(".list-row", has_text=client_order_id).click()
    page.get_by_role("button", name="Cancel…").click()
    dialog.get_by_label("Reason", exact=True).fill("I may not")
    dialog.get_by_role("button", name="Cancel the order").click()
    expect(dialog.get_by_role("alert")).to_contain_text("the key lacks the capability can.route_orders")
    assert router.call("state")["trading_state"] == "active"
    assert router.call(f"orders/by-client-id/{client_order_id}?account_id=default")["status"] == "partially_filled"


def test_key_of_one_account_sees_that_account_only(guarded, open_page) -> None:
    router, _ = guarded
    router.submit(account_id="fund-7", client_order_id=f"mine-{secrets.token_hex(4)}")
    router.submit(account_id="fund-8", client_order_id=f"theirs-{secrets.token_hex(4)}")
    page = open_page(router.url)
    # What another key has read on the same page is forgotten with it.
    sign_in(page, KEYS["operator"])
    expect(page.get_by_role("rowheader", name="fund-8")).to_be_visible()
    page.get_by_role("button", name="Forget the key").click()
    sign_in(page, KEYS["fund"])
    page.get_by_role("link", name="Blotter", exact=True).click()
    expect(page.locator(".list-row", has_text="mine-").first).to_be_visible()
    expect(page.locator(".list-row", has_text="theirs-")).to_have_count(0)
    page.get_by_role("link", name="Overview", exact=True).click()
    expect(page.get_by_role("rowheader", name="fund-7")).to_be_visible()
    assert "fund-8" not in page.content() and "theirs-" not in page.content()


def test_revoked_key_leads_back_to_the_form(guarded, open_page) -> None:
    router, config = guarded
    page = open_page(router.url)
    sign_in(page, KEYS["leaver"])
    expect(page.locator(".connection")).to_have_text("Live")
    config.write_text(config.read_text().replace(hashlib.sha256(KEYS["leaver"].encode()).hexdigest(), "0" * 64))
    router.process.send_signal(signal.SIGHUP)
    expect(page.get_by_role("alert")).to_contain_text("The key is no longer accepted")
    expect(page.get_by_label("API key")).to_be_visible()
