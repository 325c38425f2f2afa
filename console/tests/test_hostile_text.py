"""Texts of others are texts: tags, notes and ids become no markup and run no script."""

from __future__ import annotations

import uuid

from playwright.sync_api import expect

from router import Router

TAG = "<img src=x onerror=window.owned=1>"
CLIENT_ORDER_ID = "<svg/onload=window.owned=1>"
NOTE = "<script>window.owned=1</script><b>bold</b> javascript:alert(1) {{7*7}} ${7*7}"
REASON = "\"><img src=x onerror=window.owned=1><a href='javascript:window.owned=1'>"


def test_hostile_texts_are_shown_as_they_are(router: Router, open_page, set_lock) -> None:
    account = f"hostile-{uuid.uuid4().hex[:8]}"
    client_order_id = f"{CLIENT_ORDER_ID}{uuid.uuid4().hex[:6]}"
    router.submit(account_id=account, client_order_id=client_order_id, tags=[TAG])
    router.submit(account_id=account, client_order_id=f"{client_order_id}2", quantity="5", tags=[TAG])
    number = router.call(f"orders/log?account_id={account}&status=filled")["items"][0]["id"]
    router.call(f"orders/{number}/notes", {"notes": NOTE, "tags": ["<u>tag</u>"]})
    set_lock(account, REASON)
    page = open_page(router.url, "blotter")
    page.get_by_label("Account").fill(account)
    expect(page.locator(".list-row")).to_have_count(2)
    page.locator(".list-row", has_text="Filled").click()
    order = page.get_by_role("complementary", name="Order")
    expect(order.locator(".notes")).to_have_text(NOTE)
    expect(order).to_contain_text(TAG)
    expect(order).to_contain_text(client_order_id)
    page.goto(f"{router.url}/#risk")
    expect(page.get_by_role("region", name="Locks in force")).to_contain_text(REASON)
    expect(page.get_by_role("region", name="Alerts and denials")).to_contain_text(f"{client_order_id}2")
    page.goto(f"{router.url}/#overview")
    expect(page.get_by_role("region", name="Alerts of the last hour")).to_contain_text(f"{client_order_id}2")
    assert page.evaluate("window.owned") is None
    assert page.locator("#app img, #app script, #app b, #app u, #app a[href^=javascript]").count() == 0


def test_policy_forbids_inline_code_and_markup_from_text(router: Router, open_page) -> None:
    page = open_page(router.url, expected=("This document requires 'TrustedHTML' assignment",))
    expect(page.locator(".connection")).to_have_text("Live")
    response = page.request.get(router.url)
    policy = response.headers["content-security-policy"]
    assert "unsafe-inline" not in policy and "default-src 'none'" in policy and "frame-ancestors 'none'" in policy
    # Were a text to reach innerHTML, the browser itself would refuse it.
    refused = page.evaluate(
        "() => { try { document.createElement('div').innerHTML = '<b>x</b>'; return false } catch (error) { return error instanceof TypeError } }"
    )
    assert refused
