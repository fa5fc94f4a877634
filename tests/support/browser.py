"""Debian's Chromium, driven as people drive it. A page that asks another host, breaks the policy of its contents, or has a
script that fails, fails the test.

Playwright's own event loop runs in the thread of the tests for as long as it is open, and no asynchronous test runs
beside it: a module of browser tests has synchronous ones only, and the browser ends with it.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Error, Page, Request, expect, sync_playwright

from tests.support.programs import program

__all__ = ["Scheme", "Visit", "assert_accessible", "browse", "keep", "markup", "visiting"]

PATIENCE = 40_000  # milliseconds
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
Scheme = Literal["light", "dark"]


@contextlib.contextmanager
def browse() -> Iterator[Browser]:
    """A browser without a window. With its cache of whole pages on, which Playwright turns off: people have it."""
    expect.set_options(timeout=PATIENCE)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=program("chromium"),
            # Tests run as root, in containers too; and there is no other host for them.
            args=["--no-sandbox", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"],
            ignore_default_args=["--disable-back-forward-cache"],
        )
        yield browser
        browser.close()


class Visit:
    """One person at the console: cookies and storage of his own, and what went wrong."""

    def __init__(self, context: BrowserContext, origin: str) -> None:
        self.context = context
        self.origin = origin
        self.faults: list[str] = []
        self.asked: list[str] = []
        context.set_default_timeout(PATIENCE)
        context.on("request", self._see)
        context.on("console", self._note)
        context.on("weberror", lambda error: self.faults.append(f"script: {error.error}"))
        self.page = context.new_page()

    def open(self, path: str = "/") -> Page:
        self.page.goto(self.origin + path)
        return self.page

    def sign_in(self, credential: str, path: str = "/") -> Page:
        """As a person does: by pasting it into the form."""
        page = self.open(path)
        page.get_by_label("Kubernetes token or Keywright key").fill(credential)
        page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_text("Signed in as")).to_be_visible()
        return page

    def remembered(self) -> str:
        """All that the browser keeps of the site, in one text: addresses, cookies, storage."""
        storage = self.page.evaluate(
            "JSON.stringify([location.href, document.referrer, document.cookie, history.state, "
            "{...localStorage}, {...sessionStorage}])"
        )
        return f"{storage}\n{self.context.cookies()}\n" + "\n".join(self.asked)

    def _see(self, request: Request) -> None:
        self.asked.append(request.url)
        if not request.url.startswith(f"{self.origin}/"):
            self.faults.append(f"another host: {request.url}")

    def _note(self, message: ConsoleMessage) -> None:
        # The browser notes each answer of 400 and above; those are the tests' to judge.
        if message.type in ("error", "warning") and "Failed to load resource" not in message.text:
            self.faults.append(f"console: {message.text}")


@contextlib.contextmanager
def visiting(
    browser: Browser, origin: str, *, scheme: Scheme = "light", width: int = 1100, script: bool = True, **more: Any
) -> Iterator[Visit]:
    """Somebody at the console. Whatever his browser complains about fails the test."""
    context = browser.new_context(
        color_scheme=scheme,
        viewport={"width": width, "height": 900},
        java_script_enabled=script,
        reduced_motion="reduce",
        locale="en-GB",
        **more,
    )
    visit = Visit(context, origin)
    try:
        yield visit
        assert visit.faults == [], visit.faults
    finally:
        context.close()


def markup(page: Page) -> str:
    """All of the page. One that came back from the way behind loads itself anew, and is asked again if it was at it."""
    try:
        return page.content()
    except Error:
        page.wait_for_load_state()
        return page.content()


def assert_accessible(page: Page) -> None:
    """No violation of WCAG A and AA, nor of good practice, and nothing to scroll sideways for."""
    found = Axe().run(page, options={"resultTypes": ["violations"], "runOnly": RULES})
    assert found.violations_count == 0, f"{page.url}\n{found.generate_report()}"
    assert page.evaluate("document.documentElement.scrollWidth - window.innerWidth") <= 0, f"{page.url} is too wide"


def keep(page: Page, path: Path) -> None:
    """A picture of what is seen at first, without the plain key that may be in it."""
    page.screenshot(path=path, mask=[page.locator("[data-plain]")], mask_color="#8a92a2")
