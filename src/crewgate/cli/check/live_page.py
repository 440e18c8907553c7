"""Checks that the live page can use what [ui] names."""

from collections.abc import Iterator

from crewgate.config import Config, UIConfig, UILoginConfig
from crewgate.errors import ConfigurationError, ServiceConnectionError
from crewgate.server.tls import server_context
from crewgate.ui.login.provider import OpenIDProvider, login_context, read_client_secret


def live_page_errors(config: Config) -> Iterator[str]:
    """Yield files of [ui] that cannot be used, one line each."""
    page = config.ui
    if page is None:
        return
    if page.certificate is not None and page.key is not None:
        try:
            server_context(page.certificate, page.key)
        except ConfigurationError as error:
            yield f"[ui]: {error}"
    if page.login is not None:
        yield from _login_errors(page.login)


def _login_errors(login: UILoginConfig) -> Iterator[str]:
    try:
        login_context(login)
    except ConfigurationError as error:
        yield str(error)
    try:
        read_client_secret(login)
    except ConfigurationError as error:
        yield str(error)


def live_page_warnings(config: Config) -> Iterator[str]:
    """Yield a page to which nobody can log in, now or ever."""
    if config.ui is None:
        return
    yield from _unused(config.ui)
    if config.ui.login is not None and not [*_login_errors(config.ui.login)]:
        try:
            OpenIDProvider(config.ui.login).metadata()
        except (ConfigurationError, ServiceConnectionError) as error:
            yield f"[ui.login]: nobody can log in now: {error}"


def _unused(page: UIConfig) -> Iterator[str]:
    if page.login is None and not page.asks_certificates:
        yield (
            "[ui]: nobody can log in to the page that `serve` runs; add [ui.login], or "
            'client_certificate = "optional"; `crewgate ui` runs it for this user'
        )
