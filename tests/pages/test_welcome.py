"""The welcome page in a real Chromium: a prompt is sent, and where it went and why is shown."""

import re
import shutil
from collections.abc import Generator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect, sync_playwright

from tests.gateway_process import Scene

CHROMIUM = next(
    (
        found
        for name in ("chromium", "chromium-browser", "google-chrome")
        if (found := shutil.which(name))
    ),
    None,
)
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking"]

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")


@pytest.fixture
def page(tmp_path: Path) -> Generator[Page]:
    """A page whose errors fail the test, and which nothing but the gateway may answer."""
    broken: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        made = browser.new_page()
        made.on("pageerror", lambda error: broken.append(str(error)))
        made.on("console", lambda said: broken.append(said.text) if "404" in said.text else None)
        made.on(
            "request",
            lambda asked: (
                broken.append(asked.url)
                if not re.match(r"http://127\.0\.0\.1:\d+/", asked.url)
                else None
            ),
        )
        yield made
        browser.close()
    assert not broken, broken


def send(page: Page) -> None:
    page.get_by_role("button", name="Send").click()
    expect(page.get_by_role("heading", name="Where it went, and why")).to_be_visible()


def test_prompts_are_shown_where_they_went(scene: Scene, page: Page) -> None:
    """Plain text may go outside, a card number stays at home, and the policy's words say so."""
    page.goto(f"{scene.gateway.url}/#key={scene.gateway.key}")
    assert scene.gateway.key not in page.url  # neither in the history nor in what is copied
    page.get_by_label("Model").select_option("auto:best")
    send(page)
    expect(page.locator("dd.away")).to_contain_text("(outside)")
    expect(page.locator("#why")).to_contain_text("asked for  auto:best")
    page.get_by_role("button", name="card number").click()
    send(page)
    expect(page.locator("dd.home")).to_contain_text("(stays with you)")
    expect(page.locator("#why")).to_contain_text("pii.card")
    assert [sent.path for sent in scene.home.requests if sent.body] == ["/v1/chat/completions"]


def test_refusals_are_shown(scene: Scene, page: Page) -> None:
    """A wrong key is told in words, not as a broken page."""
    page.goto(f"{scene.gateway.url}/#key=mg-wrong")
    page.get_by_role("button", name="Send").click()
    expect(page.locator("dd.bad")).to_have_text("unauthenticated")
    expect(page.locator("#answer")).to_contain_text("unknown or revoked")


def test_a_key_is_taken_by_enter(scene: Scene, page: Page) -> None:
    """Typed and sent off with Enter: the models that it may ask for are there, and the prompt is next."""
    page.goto(scene.gateway.url)
    key = page.get_by_label("API key")
    key.fill("mg-wrong")
    key.press("Enter")
    expect(page.get_by_role("status")).to_have_text("this key is unknown or revoked")
    key.fill(scene.gateway.key)
    key.press("Enter")
    expect(page.get_by_label("Prompt")).to_be_focused()
    expect(page.get_by_role("status")).to_have_text("")
    expect(page.locator("#model option").filter(has_text="openai/").first).to_be_attached()
    send(page)
    expect(page.locator("#why")).to_contain_text("asked for  auto")


def test_the_class_of_the_key_is_told(scene: Scene, page: Page) -> None:
    """`public` with a key of class `internal` is internal, and the page says why; raised, it is as asked."""
    page.goto(f"{scene.gateway.url}/#key={scene.gateway.key}")
    page.get_by_label("Data class").select_option("public")
    send(page)
    held = page.locator("dd", has_text="internal: the class of the key holds")
    expect(held).to_be_visible()
    page.get_by_label("Data class").select_option("confidential")
    send(page)
    expect(page.locator("#why")).to_contain_text("class      confidential")
    expect(held).to_have_count(0)
