"""Whether people can log in, as the health, the log and the page say it, and whose fault it is."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trio
from page_browser import BrowserKey
from page_world import PageWorld
from scripted_provider import ScriptedProvider, scripted_provider

from crewgate import limits
from crewgate.core.health import ComponentHealth, HealthState, ok
from crewgate.ui.health import PageHealth


@pytest.fixture
def provider(tmp_path: Path) -> Iterator[ScriptedProvider]:
    with scripted_provider(tmp_path) as found:
        yield found
        found.may_answer.set()


@pytest.fixture
def world(tmp_path: Path, provider: ScriptedProvider) -> PageWorld:
    return PageWorld(tmp_path, provider.tables)


def with_secret(provider: ScriptedProvider) -> str:
    """Tables that name the secret `ui.secret`."""
    return provider.tables.replace("client_id", 'client_secret = "ui.secret"\nclient_id')


def login_health(world: PageWorld) -> ComponentHealth:
    sink: Any = FakeSink()
    facts = PageHealth(world.state.folder, world.login, sink).facts()
    (fact,) = (each for each in facts if each.component == "ui: login")
    return fact


async def test_the_health_says_whether_people_can_log_in(
    world: PageWorld, provider: ScriptedProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before anybody tries, and again after the provider is back."""
    monkeypatch.setattr(limits, "ui_metadata_retry_seconds", 0)
    monkeypatch.setattr(limits, "ui_provider_look_seconds", 0.01)
    provider.metadata = {"issuer": "https://evil.example"}
    found = world.login.provider
    assert found is not None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.login.follow_provider)
        await until(lambda: bool(found.problem))
        assert "nobody can log in to the live page: " in login_health(world).why
        provider.metadata = {}
        await until(lambda: not found.problem)
        nursery.cancel_scope.cancel()
    assert login_health(world) == ok("ui: login")


async def test_the_health_says_that_the_secret_cannot_be_read(
    tmp_path: Path, provider: ScriptedProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before anybody tries to log in, although the provider is well."""
    monkeypatch.setattr(limits, "ui_provider_look_seconds", 0.01)
    world = PageWorld(tmp_path, with_secret(provider))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.login.follow_provider)
        await until(lambda: login_health(world).state is HealthState.DEGRADED)
        assert f"[ui.login] client_secret: no file below {tmp_path}" in login_health(world).why
        (tmp_path / "ui.secret").write_text("two\nlines")
        await until(lambda: "expected one line" in login_health(world).why)
        (tmp_path / "ui.secret").write_text("s3cret")
        await until(lambda: login_health(world) == ok("ui: login"))
        nursery.cancel_scope.cancel()


async def test_a_problem_lasts_until_the_first_answer_of_a_new_configuration(
    tmp_path: Path, provider: ScriptedProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reload alone is no reason to say that people can log in again."""
    monkeypatch.setattr(limits, "ui_provider_look_seconds", 0.01)
    world = PageWorld(tmp_path, with_secret(provider))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.login.follow_provider)
        await until(lambda: "no file below" in login_health(world).why)
        before = login_health(world)
        (tmp_path / "ui.secret").write_text("s3cret")
        provider.may_answer.clear()
        provider.is_asked.clear()
        world.edit('client_id = "crewgate"', 'client_id = "other"')
        await until(provider.is_asked.is_set)
        assert login_health(world) == before
        provider.may_answer.set()
        await until(lambda: login_health(world) == ok("ui: login"))
        nursery.cancel_scope.cancel()


async def test_the_health_says_to_name_the_root_of_an_own_authority(
    tmp_path: Path, provider: ScriptedProvider
) -> None:
    """To compare [ui.login] with the provider would lead nowhere."""
    world = PageWorld(tmp_path, provider.tables.replace(f'ca = "{provider.root}"\n', ""))
    found = world.login.provider
    assert found is not None
    await trio.to_thread.run_sync(found.refresh)
    fact = login_health(world)
    assert fact.why.endswith("if an authority of your own signed it, name its root in `ca`")
    assert not fact.mend


async def test_a_provider_that_hangs_keeps_no_process_from_its_end(
    world: PageWorld, provider: ScriptedProvider
) -> None:
    """Neither a look at its metadata nor a login waits for it then."""
    provider.may_answer.clear()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.login.follow_provider)
        nursery.start_soon(world.browser().log_in)
        await until(provider.is_asked.is_set)
        nursery.cancel_scope.cancel()
    assert not provider.may_answer.is_set()


class FakeSink:
    def health(self, component: str, *, refuses: bool) -> ComponentHealth:
        return ok(component)


async def until(true: Any) -> None:
    while not true():
        await trio.lowlevel.checkpoint()


async def test_a_missing_secret_is_a_fault_of_the_configuration(
    tmp_path: Path, provider: ScriptedProvider, caplog: pytest.LogCaptureFixture
) -> None:
    """The page does not blame the provider, and the log names the key of the configuration."""
    world = PageWorld(tmp_path, with_secret(provider))
    browser = world.browser()
    answer = await browser.come_back(provider.consent(await browser.log_in()))
    assert answer.headers["location"] == "/#/login-failed?why=misconfigured"
    assert "has failed: [ui.login] client_secret: no file below" in caplog.text
    assert not provider.forms


async def test_an_unusable_root_is_a_fault_of_the_configuration(
    tmp_path: Path, provider: ScriptedProvider, caplog: pytest.LogCaptureFixture
) -> None:
    """A login ends before it leaves the page, whose text does not advise to try again."""
    world = PageWorld(tmp_path, provider.tables.replace(str(provider.root), "none.pem"))
    answer = await world.browser().ask("POST", "/api/login", {"key": BrowserKey().jwk})
    assert answer.status_code == 503
    assert "The configuration of the page lets nobody log in." in answer.json()["detail"]
    assert f"[ui.login] ca: {tmp_path}/none.pem: cannot read root certificates" in caplog.text
