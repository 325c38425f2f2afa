"""The console without a mouse, and for eyes that need contrast (WCAG 2.2 AA)."""

from __future__ import annotations

import uuid

import pytest
from playwright.sync_api import Page, expect

from router import Router

TEXT_CONTRAST = 4.5
LARGE_TEXT_CONTRAST = 3.0

MEASURE = """() => {
  const canvas = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
  const rgba = (color) => {
    canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = color; canvas.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  };
  const over = ([r, g, b, a], under) => [r, g, b].map((value, at) => value * a + under[at] * (1 - a)).concat(1);
  const ground = (element) => {
    const layers = [];
    for (let one = element; one; one = one.parentElement) layers.push(rgba(getComputedStyle(one).backgroundColor));
    return layers.reverse().reduce((under, layer) => over(layer, under), [255, 255, 255, 1]);
  };
  const luminance = ([r, g, b]) => [r, g, b].map((value) => value / 255)
    .map((value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4))
    .reduce((sum, value, at) => sum + value * [0.2126, 0.7152, 0.0722][at], 0);
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const text = walker.currentNode.textContent.trim();
    const element = walker.currentNode.parentElement;
    if (text === '' || !element.checkVisibility() || element.closest('noscript, option, :disabled, .visually-hidden, .skip')) continue;
    const style = getComputedStyle(element);
    const under = ground(element);
    const [light, dark] = [luminance(over(rgba(style.color), under)), luminance(under)].sort((a, b) => b - a);
    const size = parseFloat(style.fontSize);
    const isLarge = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    found.push({ text: text.slice(0, 40), ratio: (light + 0.05) / (dark + 0.05), isLarge, className: element.className });
  }
  return found;
}"""


def assert_contrast(page: Page) -> None:
    found = page.evaluate(MEASURE)
    assert len(found) > 20
    poor = [one for one in found if one["ratio"] < (LARGE_TEXT_CONTRAST if one["isLarge"] else TEXT_CONTRAST)]
    assert poor == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_has_contrast(router: Router, open_page, set_lock, scheme: str) -> None:
    account = f"contrast-{uuid.uuid4().hex[:8]}"
    router.submit(account_id=account, quantity="0.3", price="30100")
    router.submit(account_id=account, quantity="5")
    router.submit_open(account_id=account)
    set_lock(account, "under review")
    page = open_page(router.url, scheme=scheme)
    expect(page.get_by_role("row").filter(has_text=account).first).to_be_visible()
    assert_contrast(page)
    page.goto(f"{router.url}/#blotter")
    page.locator(".list-row", has_text="Rejected").first.click()
    expect(page.get_by_role("complementary", name="Order")).to_contain_text("Denied by the rule")
    assert_contrast(page)
    page.goto(f"{router.url}/#positions")
    expect(page.get_by_role("region", name=account)).to_be_visible()
    page.goto(f"{router.url}/#risk")
    expect(page.get_by_role("region", name="Locks in force")).to_contain_text(account)
    try:
        for state in ("reduce_only", "halted"):
            router.call("state", {"trading_state": state, "reason": "contrast"}, "PUT")
            expect(page.locator(f".banner.trading-{state}")).to_be_visible()
            assert_contrast(page)
    finally:
        router.call("state", {"trading_state": "active", "reason": "the test is over"}, "PUT")
    page.get_by_role("region", name="Trading state").get_by_role("button", name="Halt trading…").click()
    expect(page.get_by_role("dialog")).to_be_visible()
    assert_contrast(page)


def test_keyboard_alone_opens_an_order_and_halts(router: Router, open_page) -> None:
    account = f"keys-{uuid.uuid4().hex[:8]}"
    for number in range(3):
        router.submit(account_id=account, client_order_id=f"{account}-{number}")
    page = open_page(router.url)
    expect(page.locator(".connection")).to_have_text("Live")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Blotter")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator(".list-row").first).to_be_visible()
    for _ in range(12):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.getAttribute('role')") == "grid":
            break
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    current = page.locator(".list-row.current")
    expect(current).to_have_attribute("aria-rowindex", "3")
    assert page.get_by_role("grid").get_attribute("aria-activedescendant") == current.get_attribute("id")
    page.keyboard.press("Enter")
    order = page.get_by_role("complementary", name="Order")
    expect(order).to_contain_text(current.locator(".mono").inner_text())
    page.keyboard.press("Escape")
    expect(order).to_have_count(0)
    halt = page.locator(".banner").get_by_role("button", name="Halt trading…")
    halt.focus()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_label("Reason", exact=True)).to_be_focused()
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    expect(halt).to_be_focused()


@pytest.mark.parametrize("view", ["overview", "blotter", "positions", "risk"])
def test_controls_have_names_and_views_a_structure(router: Router, open_page, view: str) -> None:
    router.submit()
    page = open_page(router.url, view)
    expect(page.locator(".connection")).to_have_text("Live")
    nameless = page.evaluate(
        """() => [...document.querySelectorAll('button, a[href], input, select, [role=meter], [role=img], [role=grid], section')]
          .filter((one) => one.checkVisibility())
          .filter((one) => !(one.ariaLabel || one.textContent.trim() || one.labels?.length || one.getAttribute('aria-labelledby')))
          .map((one) => one.outerHTML.slice(0, 120))"""
    )
    assert nameless == []
    assert page.locator("main").count() == 1 and page.locator("html[lang=en]").count() == 1
    expect(page.get_by_role("link", name=view.capitalize(), exact=True)).to_have_attribute("aria-current", "page")
