"""A successor goes on only with the table and the ledger that the agent before it serves."""

import shutil
from collections.abc import Callable, Iterator

import msgspec
import pytest

from crewgate.agent import main
from crewgate.agent.active_config import ActiveConfig
from crewgate.agent.budget.ledger_mark_keeper import LedgerMarkKeeper, open_known_ledger
from crewgate.agent.hot_restart_check import require_goes_on
from crewgate.agent.table_setup import holder_name, open_table
from crewgate.config import Config
from crewgate.errors import ConfigurationError, CrewgateError, LedgerReplacedError
from crewgate.runtime.process_log import ProcessLog
from crewgate.runtime.readiness import WAITING, ReadinessListener, ReadinessNotifier

Change = Callable[[Config], Config]


@pytest.fixture
def config(file_small: Config) -> Iterator[Config]:
    """An agent holds its table and ledger."""
    ledger, mark = open_known_ledger(file_small, holder_name(file_small))
    table, _ = open_table(file_small, mark.drawn_as)
    LedgerMarkKeeper(file_small, ledger, table, mark)
    yield file_small
    table.close()
    ledger.session.close()


@pytest.fixture
def file_small(file: object) -> Config:
    """With a table that is small enough to be made often."""
    path = ActiveConfig(file).config.path  # type: ignore[arg-type]
    small = "[table]\nbranches = 256\nrevocations = 256\nreservations = 256\n"
    path.write_text(path.read_text() + small)
    return ActiveConfig(path).config


def changed(**fields: object) -> Change:
    return lambda config: msgspec.structs.replace(config, **fields)


def elsewhere(config: Config) -> Config:
    return msgspec.structs.replace(config, state=config.state.with_name("other"))


def larger(config: Config) -> Config:
    return msgspec.structs.replace(
        config, table=msgspec.structs.replace(config.table, branches=512)
    )


def without_holder(config: Config) -> Config:
    (config.state / "holder").unlink()
    return config


def of_another_version(config: Config) -> Config:
    """The file is another one; that of the agent stays as it is mapped."""
    path = config.state / "table"
    copy = path.with_name("copy")
    shutil.copy(path, copy)
    with copy.open("r+b") as stream:
        stream.write(b"?" * 16)
    copy.replace(path)
    return config


def another_ledger(config: Config) -> Config:
    assert config.ledger.file is not None
    file = config.ledger.file.with_name("new.db")
    return msgspec.structs.replace(config, ledger=msgspec.structs.replace(config.ledger, file=file))


def test_the_same_configuration_goes_on(config: Config) -> None:
    """And looking changes nothing in the state folder."""
    before = {path: path.stat().st_mtime_ns for path in config.state.glob("*")}
    require_goes_on(config)
    after = {path: path.stat().st_mtime_ns for path in config.state.glob("*")}
    assert {path: after[path] for path in before} == before


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (elsewhere, "state: the agent that serves has no table in "),
        (changed(name="west-2"), "name cannot change while serving"),
        (without_holder, "name cannot change while serving"),
        (larger, "[table] cannot change while serving"),
        (of_another_version, "this version cannot continue with the present table"),
    ],
    ids=["state", "name", "holder", "geometry", "version"],
)
def test_what_cannot_go_on_is_named(config: Config, change: Change, says: str) -> None:
    """With what to do; and nothing has been made where it should be."""
    with pytest.raises(ConfigurationError) as raised:
        require_goes_on(change(config))
    assert f"{config.path}: {says}" in str(raised.value)
    assert str(raised.value).endswith(
        "; end `crewgate serve` and start it again, or take the change back"
    )
    assert not config.state.with_name("other").exists()


def test_a_ledger_that_has_forgotten_is_found_before_the_agent_ends(config: Config) -> None:
    """Here: there is none."""
    with pytest.raises(LedgerReplacedError, match="there is no ledger"):
        require_goes_on(another_ledger(config))


def test_a_successor_looks_before_it_says_that_it_waits(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The supervisor hears nothing of one that cannot go on, and leaves the agent in place."""
    monkeypatch.setattr(main, "raise_to", lambda _: None)
    (config.state / "holder").write_text("another\n")
    with ReadinessListener() as word:
        with pytest.raises(CrewgateError, match="name cannot change"):
            main.run(
                config.path, ReadinessNotifier(word.theirs), ProcessLog("agent"), successor=True
            )
        assert not word.poll(WAITING)
