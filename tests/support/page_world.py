"""The live page in this process, behind the clients that a test chooses."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
from page_browser import BrowserKey, PageBrowser

from crewgate.config import Config, UIConfig, load
from crewgate.server.request import ClientInfo
from crewgate.ui.app import make_app
from crewgate.ui.endpoint import PageEndpoint, PageRequest
from crewgate.ui.login.login_service import LoginService
from crewgate.ui.login.one_time_codes import OneTimeCodes
from crewgate.ui.login.sessions import Sessions
from crewgate.ui.page_state import PageState
from crewgate.ui.person import Person, Right

CONFIG = """
audience = "https://gateway.example"
state = "state"
workers = 0
[crew.article]
issuer = "https://orchestrator.example"
jwks = "article.jwks.json"
tools = ["search.*"]
[crew.bd]
issuer = "https://orchestrator.bd.example"
jwks = "bd.jwks.json"
tools = ["search.*"]
[ui]
port = 8470
url = "https://crewgate.example"
certificate = "ui.pem"
key = "ui.key"
"""
URL = "https://crewgate.example"


async def _echo(state: PageState, person: Person, request: PageRequest) -> object:
    """Who asks, and with what."""
    body = json.loads(request.body) if request.body else None
    return {"person": person.name, "query": request.query, "body": body}


async def _steer(state: PageState, person: Person, request: PageRequest) -> object:
    """Only for who may operate the crew `article`."""
    person.demand(Right.OPERATE, "article")
    return {}


ENDPOINTS = (
    PageEndpoint("GET", "/api/echo", _echo, {"crew": "a crew"}),
    PageEndpoint("POST", "/api/echo", _echo),
    PageEndpoint("POST", "/api/steer", _steer),
)


class PageWorld:
    """A page over https, its sessions, and what it has noted in the audit."""

    def __init__(
        self,
        folder: Path,
        more: str = "",
        *,
        endpoints: Sequence[PageEndpoint] = ENDPOINTS,
        path: Path | None = None,
    ) -> None:
        """`more` is the rest of the configuration, `path` the file of the sessions."""
        self.file = folder / "crewgate.toml"
        self.file.write_text(CONFIG + more)
        self.notes: list[str] = []
        self.state = PageState(load(self.file), self.notes.append)
        self.codes = OneTimeCodes()
        self.sessions = Sessions(path)
        self.login = LoginService(self.state, self.sessions, self.codes)
        self.app = make_app(self.state, self.login, "gw-1", endpoints)

    @property
    def page(self) -> UIConfig:
        return self.state.page

    def edit(self, old: str, new: str) -> Config:
        """Change the configuration of the page."""
        text = self.file.read_text()
        assert old in text
        self.file.write_text(text.replace(old, new))
        self.state.config = load(self.file)
        return self.state.config

    def client(self, peer: ClientInfo | None = None, **options: Any) -> httpx.AsyncClient:
        """Requests of a connection from this client."""

        async def served(scope: Any, receive: Any, send: Any) -> None:
            scope["state"] = {"peer": peer or ClientInfo("192.0.2.1", 1)}
            await self.app(scope, receive, send)

        transport = httpx.ASGITransport(served, raise_app_exceptions=True)
        return httpx.AsyncClient(transport=transport, base_url=URL, **options)

    def browser(self, key: BrowserKey | None = None, peer: ClientInfo | None = None) -> PageBrowser:
        """A browser without a session."""
        return PageBrowser(self.client(peer), key)

    async def logged_in(self) -> PageBrowser:
        """A browser with a session from a link, whose person has all rights."""
        browser = self.browser()
        answer = await browser.open_link(self.codes.new())
        assert answer.status_code == 200, answer.text
        return browser
