"""Servers whose browsers live in one process: one mints Mooring's handles, one its own ids and knows nothing of it."""

from __future__ import annotations

import asyncio
import secrets
from typing import Any

import mooring


class Browsers:
    """What one process holds.

    Attributes:
        pages: by handle or id: what was opened in each browser.
        ledger: what each call found, as the server saw it.
        finish: lets slow calls end.
    """

    def __init__(self) -> None:
        self.pages: dict[str, list[str]] = {}
        self.ledger: list[tuple[str, str]] = []
        self.finish = asyncio.Event()

    def opened(self, browser: str) -> str:
        self.pages[browser] = []
        return browser

    def visit(self, browser: str, url: str) -> str:
        self.ledger.append((browser, url))
        if browser not in self.pages:
            return f"no browser {browser}"
        self.pages[browser].append(url)
        return f"page {len(self.pages[browser])} of {browser}"


def minting_server(make_server: Any, browsers: Browsers, **options: Any) -> Any:
    """A server of SDK v2 or FastMCP that mints handles."""
    server: Any = make_server("browsers", **options)

    def open_browser(survives: bool = False) -> str:
        """A new browser."""
        return browsers.opened(mooring.new_handle("browser", survives=survives))

    def visit(browser: str, url: str, other: str | None = None) -> str:
        """Opens a page."""
        return browsers.visit(browser, url)

    async def visit_slowly(browser: str, url: str) -> str:
        """Opens a page that takes its time."""
        browsers.ledger.append((browser, "begins"))
        try:
            await browsers.finish.wait()
        except asyncio.CancelledError:
            browsers.ledger.append((browser, "cancelled"))
            raise
        return browsers.visit(browser, url)

    def close_browser(browser: str) -> str:
        """Ends it."""
        del browsers.pages[browser]
        mooring.end(browser)
        return "closed"

    def visit_all(browser_list: list[str]) -> list[str]:
        """Opens a page in each."""
        return [browsers.visit(browser, "all") for browser in browser_list]

    def visit_each(pages: dict[str, str]) -> list[str]:
        """Opens in each browser its own page."""
        return [browsers.visit(browser, url) for browser, url in pages.items()]

    def read_page(browser: str, page: str) -> str:
        """What a page says."""
        return browsers.visit(browser, page)

    for tool in (open_browser, visit, visit_slowly, visit_all, visit_each, close_browser):
        server.tool()(tool)
    server.resource("browser://{browser}/{page}")(read_page)
    return server


def unaware_server(make_server: Any, browsers: Browsers, **options: Any) -> Any:
    """The same of an author who never heard of Mooring."""
    server: Any = make_server("browsers", **options)

    def create_session() -> dict[str, str]:
        """A new browser."""
        return {"session_id": browsers.opened(f"browser-{secrets.token_hex(8)}")}

    def visit(session_id: str, url: str) -> str:
        """Opens a page."""
        return browsers.visit(session_id, url)

    for tool in (create_session, visit):
        server.tool()(tool)
    return server


def app_of(server: Any) -> Any:
    return server.http_app(path="/mcp") if hasattr(server, "http_app") else server.streamable_http_app()
