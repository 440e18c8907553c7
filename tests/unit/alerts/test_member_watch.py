"""When a person hears of another machine of the cluster, or of a process that started again."""

import msgspec
from alert_fakes import LOCAL, NOW

from crewgate.alerts.alert import Alert, AlertState
from crewgate.alerts.member_watch import MemberWatch
from crewgate.alerts.restart_watch import RestartWatch
from crewgate.ipc.cluster_messages import MemberRow

HERE = MemberRow("gw-1", "10.0.0.1:7946", "here", "counts", 0, 99, may_revoke=True)
OTHER = MemberRow("gw-2", "10.0.0.2:7946", "alive", "counts", 1, 99, may_revoke=True)


class Watch:
    def __init__(self) -> None:
        self.notes: dict[str, str] = {}
        self.now = NOW
        self.start()

    def start(self) -> None:
        self.watch = MemberWatch(LOCAL, self.notes)

    def see(self, *rows: MemberRow, after: float = 5) -> list[Alert]:
        self.now += after
        found = self.watch.update([HERE, *rows], self.now)
        for key, text in found.notes.items():
            if text is None:
                self.notes.pop(key, None)
            else:
                self.notes[key] = text
        return found.alerts


def changed(**fields: object) -> MemberRow:
    return msgspec.structs.replace(OTHER, **fields)


def test_the_first_look_tells_no_members_but_those_that_are_away() -> None:
    assert not Watch().see(OTHER)
    (away,) = Watch().see(changed(state="dead"))
    assert away.text == "machine gw-2 does not answer, says machine gw-1"


def test_away_and_back() -> None:
    """A suspect is not away yet; a restart in between repeats nothing."""
    watch = Watch()
    assert not watch.see(OTHER)
    assert not watch.see(changed(state="suspect"))
    (away,) = watch.see(changed(state="dead"))
    assert (away.state, away.subject) == (AlertState.BEGINS, "machine/gw-2")
    watch.start()
    assert not watch.see(changed(state="dead"), after=60)
    (back,) = watch.see(OTHER, after=60)
    assert (back.state, back.text) == (
        AlertState.OVER,
        "machine gw-2 answers machine gw-1 again after 120 s",
    )
    (again,) = watch.see(changed(state="left"))
    assert again.text == "machine gw-2 has stopped, says machine gw-1"
    assert again.id != away.id


def test_joined_and_evicted() -> None:
    """A machine that is still joining is not told; the eviction is told once."""
    watch = Watch()
    watch.see(OTHER)
    new = changed(name="gw-3", standing="joining")
    assert not watch.see(OTHER, new)
    (joined,) = watch.see(OTHER, changed(name="gw-3"))
    assert joined.text == "machine gw-3 has joined the cluster at 10.0.0.2:7946"
    assert "crewgate cluster evict" in joined.next
    (evicted,) = watch.see(changed(standing="leaving"), changed(name="gw-3"))
    assert evicted.text == "machine gw-2 was evicted from the cluster"
    assert not watch.see(changed(name="gw-3"))
    (gone,) = watch.see()
    assert (gone.subject, gone.data["event"]) == ("machine/gw-3", "evicted")


def test_a_process_that_was_started_again() -> None:
    """Once for each time; another `crewgate serve` counts from 0."""
    notes: dict[str, str] = {}

    def see(serve: str, **counts: int) -> list[Alert]:
        found = RestartWatch(LOCAL, serve, notes).update(counts, NOW)
        for key, text in found.notes.items():
            if text is None:
                notes.pop(key)
            else:
                notes[key] = text
        return found.alerts

    assert not see("a", agent=0, control=0)
    (first,) = see("a", agent=0, control=2)
    assert first.text == (
        "process control of machine gw-1 has ended, and `crewgate serve` has started it again "
        "(2 times since the start of `crewgate serve`)"
    )
    assert not see("a", agent=0, control=2)
    assert len(see("a", agent=1, control=3)) == 2
    assert not see("b", agent=0, control=0)
    assert len(see("b", agent=1, control=0)) == 1
