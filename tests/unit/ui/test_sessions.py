"""The sessions of the live page: which are good, what the file keeps, and their bounds."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from crewgate import limits
from crewgate.runtime import durable_files
from crewgate.ui.login import sessions as module
from crewgate.ui.login.session import ProvenPerson, Session
from crewgate.ui.login.sessions import Sessions

KEY = bytes(range(32))
ADA = ProvenPerson("person/ada", "login", "https://id.example crewgate sub", ("sre",))
SECONDS, IDLE = 28_800, 1800
STORED = b"""{"sessions": [{"digest": "a", "key": "%b", "begun": 1, "used": 1,
"person": {"name": "person/ada", "way": "%b"}}]}"""


class Clock:
    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ui" / "sessions.json"


def found(sessions: Sessions, session_id: str) -> Session:
    session = sessions.find(session_id)
    assert session is not None
    return session


def content_of(path: Path) -> str:
    """The text of a file that only this user may read, as its folder."""
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    return path.read_text()


async def test_a_session_is_found_by_its_id_alone(path: Path, clock: Clock) -> None:
    """And again by the next process, once it is saved; the file is for this user alone."""
    before = Sessions(path, clock)
    session_id = before.begin(ADA, KEY)
    await before.save()
    text = content_of(path)
    assert session_id not in text
    after = Sessions(path, clock)
    session = found(after, session_id)
    assert (session.person, session.key, session.begun) == (ADA, KEY, int(clock.now))
    (stored,) = json.loads(text)["sessions"]
    assert after.find(stored["digest"]) is None
    assert after.find("") is None


async def test_a_logout_is_on_the_disk_when_save_returns(path: Path, clock: Clock) -> None:
    sessions = Sessions(path, clock)
    first, second = sessions.begin(ADA, KEY), sessions.begin(ADA, KEY)
    await sessions.save()
    ended = found(sessions, first)
    sessions.end(ended, "signed-out")
    await sessions.save()
    assert ended.end == "signed-out"
    after = Sessions(path, clock)
    assert after.find(first) is None
    assert after.find(second) is not None


async def test_saves_that_overlap_keep_the_newest(
    path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A slow write of an old state never replaces a newer one; each caller waits for its own."""
    written: list[bytes] = []
    begun, may_end = trio.Event(), trio.Event()
    token = trio.lowlevel.current_trio_token()

    def write(path: Path, data: bytes) -> None:
        token.run_sync_soon(begun.set)
        trio.from_thread.run(may_end.wait)
        written.append(data)

    monkeypatch.setattr(module, "_write", write)
    sessions = Sessions(path, clock)
    session_id = sessions.begin(ADA, KEY)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(sessions.save)
        await begun.wait()
        sessions.end(found(sessions, session_id), "signed-out")
        for _ in range(3):
            nursery.start_soon(sessions.save)
        await trio.testing.wait_all_tasks_blocked()
        may_end.set()
    counts = [len(json.loads(data)["sessions"]) for data in written]
    assert counts == [1, 0]


async def test_a_write_that_fails_is_tried_again(
    path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And said meanwhile; the next save writes all."""

    def fail(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    sessions = Sessions(path, clock)
    session_id = sessions.begin(ADA, KEY)
    with monkeypatch.context() as patch:
        patch.setattr(module, "write_file", fail)
        with pytest.raises(OSError, match="No space"):
            await sessions.save()
        assert "make room" in sessions.problem
    await sessions.save()
    assert sessions.problem == ""
    assert Sessions(path, clock).find(session_id) is not None


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"[]",
        b'{"sessions": 7}',
        b'{"sessions": [{}]}',
        STORED % (b"xyz", b"login"),
        STORED % (b"00", b"root"),
        b"[" * 100_000,
        b"\xff",
    ],
    ids=lambda data: data[:40],
)
def test_a_damaged_file_lets_nobody_in(path: Path, data: bytes) -> None:
    """The process starts, and everybody logs in again."""
    path.parent.mkdir()
    path.write_bytes(STORED % (b"00", b"login"))
    assert len(Sessions(path)) == 1
    path.write_bytes(data)
    assert len(Sessions(path)) == 0


def test_a_file_that_cannot_be_read_lets_nobody_in(path: Path) -> None:
    path.mkdir(parents=True)
    assert len(Sessions(path)) == 0


async def test_a_session_of_a_link_is_in_no_file(path: Path, clock: Clock) -> None:
    """It ends with the process that has printed the link."""
    sessions = Sessions(path, clock)
    session_id = sessions.begin(ProvenPerson("local/ada", "local"), KEY)
    await sessions.save()
    assert sessions.find(session_id) is not None
    assert len(Sessions(path, clock)) == 0


@pytest.mark.parametrize(
    ("after", "is_over"),
    [(0, False), (IDLE - 1, False), (IDLE, True), (SECONDS, True), (-60, False), (-61, True)],
)
def test_a_session_ends_with_its_time(clock: Clock, after: int, is_over: bool) -> None:
    """Unused for too long, or when a clock is set back before it has begun."""
    sessions = Sessions(None, clock)
    session = found(sessions, sessions.begin(ADA, KEY))
    clock.now += after
    sessions.end_if_over(session, SECONDS, IDLE)
    assert (session.end == "ended") == is_over
    assert len(sessions) == (not is_over)


def test_an_open_page_is_a_use_and_no_session_is_longer_than_its_time(clock: Clock) -> None:
    sessions = Sessions(None, clock)
    session = found(sessions, sessions.begin(ADA, KEY))
    session.pages = 1
    clock.now += SECONDS - 1
    sessions.end_all_over(SECONDS, IDLE)
    assert session.end is None
    clock.now += 1
    sessions.end_all_over(SECONDS, IDLE)
    assert session.end == "ended"


def test_one_person_cannot_end_the_sessions_of_others(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A flood of logins of one person ends that person's own sessions, the least used first."""
    sessions = Sessions(None, clock)
    grace = found(sessions, sessions.begin(ProvenPerson("person/grace", "login"), KEY))
    begun = []
    for _ in range(limits.ui_sessions_of_one_max + 3):
        clock.now += 1
        begun.append(found(sessions, sessions.begin(ADA, KEY)))
    assert grace.end is None
    assert len(sessions) == limits.ui_sessions_of_one_max + 1
    assert [each.end for each in begun[:3]] == ["ended"] * 3
    assert not any(each.end for each in begun[3:])


def test_the_number_of_sessions_is_bounded(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """An open page is the last to go."""
    monkeypatch.setattr(limits, "ui_sessions_max", 4)
    sessions = Sessions(None, clock)
    watching = found(sessions, sessions.begin(ADA, KEY))
    watching.pages = 1
    for number in range(10):
        clock.now += 1
        sessions.begin(ProvenPerson(f"person/{number}", "login"), KEY)
    assert len(sessions) == 4
    assert watching.end is None


class Model(RuleBasedStateMachine):
    """Sessions against a slow model, through uses, ends, crashes and the passing of time.

    `saved` is the model of the file: after a crash, the sessions are those of the last save.
    """

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.files: dict[Path, bytes] = {}
        self.path = Path("/nowhere/sessions.json")
        self.live: dict[str, dict[str, Any]] = {}
        self.saved: dict[str, dict[str, Any]] = {}
        self.gone: set[str] = set()
        self.start()

    def start(self) -> None:
        self.sessions = Sessions(None, self.clock)
        self.sessions._path = self.path
        if self.path in self.files:
            stored = module.msgspec.json.decode(self.files[self.path], type=module._File).sessions
            self.sessions._sessions = {each.digest: Session(each) for each in stored}

    def chosen(self, data: st.DataObject) -> str:
        """A live session by its number: ids differ in each run."""
        return [*self.live][data.draw(st.integers(0, len(self.live) - 1))]

    @rule(name=st.sampled_from(["ada", "grace"]))
    def begin(self, name: str) -> None:
        if sum(each["name"] == name for each in self.live.values()) >= 8:
            return
        session_id = self.sessions.begin(ProvenPerson(f"person/{name}", "login"), KEY)
        assert session_id not in self.live.keys() | self.gone
        now = int(self.clock.now)
        self.live[session_id] = {"name": name, "begun": now, "used": now}

    @precondition(lambda self: self.live)
    @rule(data=st.data())
    def use(self, data: st.DataObject) -> None:
        session_id = self.chosen(data)
        session = found(self.sessions, session_id)
        self.sessions.end_if_over(session, SECONDS, IDLE)
        if self.is_over(session_id):
            assert session.end == "ended"
            self.gone.add(session_id)
            del self.live[session_id]
        else:
            self.sessions.use(session)
            self.live[session_id]["used"] = int(self.clock.now)

    @precondition(lambda self: self.live)
    @rule(data=st.data(), is_acknowledged=st.booleans())
    def log_out(self, data: st.DataObject, is_acknowledged: bool) -> None:
        session_id = self.chosen(data)
        self.sessions.end(found(self.sessions, session_id), "signed-out")
        del self.live[session_id]
        if is_acknowledged:
            self.save()
            self.gone.add(session_id)

    @rule()
    def save(self) -> None:
        self.files[self.path] = self.sessions._encoded()
        self.saved = {name: dict(each) for name, each in self.live.items()}

    @rule()
    def crash(self) -> None:
        """The next process has what was saved, and not one session that was seen to end."""
        self.start()
        self.live = {name: dict(each) for name, each in self.saved.items()}

    @rule(seconds=st.integers(0, SECONDS))
    def wait(self, seconds: int) -> None:
        self.clock.now += seconds

    @rule()
    def sweep(self) -> None:
        self.sessions.end_all_over(SECONDS, IDLE)
        for session_id in [each for each in self.live if self.is_over(each)]:
            self.gone.add(session_id)
            del self.live[session_id]

    def is_over(self, session_id: str) -> bool:
        each, now = self.live[session_id], int(self.clock.now)
        return now >= each["begun"] + SECONDS or now >= each["used"] + IDLE

    @invariant()
    def the_same_sessions_are_there(self) -> None:
        for session_id, each in self.live.items():
            session = self.sessions.find(session_id)
            assert session is not None
            assert session.person.name == f"person/{each['name']}"
            assert session.end is None
        assert len(self.sessions) == len(self.live)


TestModel = Model.TestCase


def test_the_file_is_written_as_all_durable_files_are(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the one function that a power loss cannot surprise."""
    calls: list[Callable[..., Any]] = []
    monkeypatch.setattr(module, "write_file", lambda *given: calls.append(given))
    module._write(path, b"{}")
    assert calls == [(path, b"{}", 0o600)]
    assert module.make_folder is durable_files.make_folder
