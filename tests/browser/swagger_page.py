"""Swagger UI as a person uses it: by what it shows."""

import json
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import ConsoleMessage, Download, Error, Locator, Page, Request


class SwaggerPage:
    """The page at /docs in a tab of its own, with everything that it asked for and complained about."""

    def __init__(self, tab: Page, url: str) -> None:
        self.tab = tab
        self.url = url
        self.hosts: set[str] = set()
        self.complaints: list[str] = []
        tab.context.on("request", self._note_request)
        tab.on("console", self._note_message)
        tab.on("pageerror", self._note_error)

    def _note_request(self, request: Request) -> None:
        # A picture in the style sheet and a saved file are in the page already.
        if not request.url.startswith(("data:", "blob:")):
            self.hosts.add(urlsplit(request.url).netloc)

    def _note_message(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(message.text)

    def _note_error(self, error: Error) -> None:
        self.complaints.append(str(error))

    def open(self) -> None:
        self.tab.goto(f"{self.url}/docs")
        self.tab.locator(".opblock").last.wait_for()

    def authorize(self, key: str) -> None:
        self.tab.get_by_role("button", name="Authorize").click()
        dialog = self.tab.locator(".dialog-ux")
        dialog.get_by_label("Value:").fill(key)
        dialog.get_by_role("button", name="Apply credentials").click()
        dialog.get_by_role("button", name="Close").click()

    def operation(self, operation_id: str) -> "Operation":
        """One operation, unfolded."""
        return Operation(self.tab, operation_id)

    def unfold_all(self) -> None:
        """Unfolds every operation."""
        folded = self.tab.locator(".opblock-summary-control")
        count = folded.count()
        folded.evaluate_all("controls => controls.forEach(control => control.click())")
        self.tab.locator(".operation-tag-content > span > .opblock .responses-inner").nth(count - 1).wait_for()

    def overflow(self) -> int:
        """How many pixels of the page lie beyond the right edge of the screen."""
        return int(self.tab.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"))


class Operation:
    """An operation of the page, ready to be tried."""

    def __init__(self, tab: Page, operation_id: str) -> None:
        self.tab = tab
        self.block = tab.locator(f"[id^='operations-'][id$='-{operation_id}']")
        self.block.locator(".opblock-summary-control").click()
        self.execute_button = self.block.get_by_role("button", name="Execute", exact=True)
        self.execute_button.wait_for()

    def fill(self, name: str, value: str) -> None:
        self.block.get_by_placeholder(name, exact=True).fill(value)

    def execute(self) -> int:
        """Presses Execute and waits for the answer; its status, as the page shows it."""
        clear = self.block.get_by_role("button", name="Clear", exact=True)
        if clear.is_visible():
            clear.click()
        self.execute_button.click()
        return int(self._answer().locator(".response-col_status").inner_text().split()[0])

    def answer(self) -> Any:
        """The JSON that the page shows as the answer's body."""
        return json.loads(self._answer().locator(".highlight-code code").first.inner_text())

    def save(self, path: Path) -> str:
        """Follows the download link of the answer; the file name that it suggests."""
        with self.tab.expect_download() as expected:
            self._answer().get_by_text("Download file").click()
        download: Download = expected.value
        download.save_as(path)
        return download.suggested_filename

    def _answer(self) -> Locator:
        return self.block.locator(".live-responses-table .response")

    def picture(self, path: Path) -> None:
        """Keeps what the screen shows around the answer."""
        self._answer().scroll_into_view_if_needed()
        self.tab.screenshot(path=path)
