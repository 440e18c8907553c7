"""The minting watch: of every grant that is seen, whether it may be used, and what that moved.

Keeps one conduct for each orchestrator, within fixed bounds, and one account a crew, `CREW/*`, for
strangers. Two ways round a quarantine are closed there, both open to whoever holds a crew's key and
may write any `client_id`: the first grant of every name counts for `CREW/*`, so that inventing
names is itself a rate with a baseline and a ceiling; and while an orchestrator is quarantined, no
name that was never seen before is admitted under the key that it last minted with. Names for which
there is no room share `CREW/*` altogether.

Pure: time comes in as seconds of a clock that nobody sets. Knows no tokens, tables or files.
"""

from collections import OrderedDict, defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice

import msgspec

from crewgate import limits
from crewgate.core.anomaly.enforcement import (
    By,
    Cause,
    IllegalStepError,
    NoRoomError,
    Place,
    Rung,
    Word,
)
from crewgate.core.anomaly.minting_profile import Conduct, Room
from crewgate.core.anomaly.quarantined_keys import Aliases, Name
from crewgate.core.anomaly.transitions import Answer, Saved, Standing, Step, strangers
from crewgate.core.anomaly.types import Finding, Rules, Seen

_RULES = Rules()
# Of a newcomer's first grant, only that it is there counts for its crew's strangers.
_BARE = {"parent": b"", "depth": 0, "patterns": 0, "tools": 0, "credits": 0}


class Watch:
    """All orchestrators of one machine."""

    def __init__(
        self,
        names_max: int = limits.watch_orchestrators_max,
        branches_max: int = limits.watch_branches_max,
    ) -> None:
        self._names_max = names_max
        self._room = Room(branches_max)
        self._rules: Mapping[str, Rules] = {}
        self._crowds: Mapping[str, Rules] = {}  # the rules of strangers, by their name
        self._conducts: OrderedDict[Name, Conduct] = OrderedDict()  # the longest unseen first
        self._round: deque[tuple[Name, Conduct]] = deque()  # as they are looked at
        self._count: defaultdict[str, int] = defaultdict(int)  # names of a crew
        self._raised: OrderedDict[Name, Conduct] = OrderedDict()
        self._aliases = Aliases()

    def __repr__(self) -> str:
        return f"<Watch of {len(self._conducts)}, raised {len(self._raised)}, {self._room!r}>"

    def __len__(self) -> int:
        return len(self._conducts)

    def load(self, rules: Mapping[str, Rules]) -> None:
        """Judge crews by these rules from now on."""
        self._rules = dict(rules)
        self._crowds = {
            strangers(crew): msgspec.structs.replace(
                each, mints_per_minute=each.newcomers_per_minute
            )
            for crew, each in rules.items()
        }
        for name, conduct in self._raised.items():
            if conduct.place.in_force(self._of(name).mode) is Rung.QUARANTINE:
                self._hold(name, conduct)
            else:
                self._aliases.release(name)

    def see(self, seen: Seen, now: float) -> Answer:
        """Count a grant, and judge whether it may be used."""
        name = seen.crew, seen.orchestrator
        steps: list[Step] = []
        conduct = self._conducts.get(name)
        if conduct is None:
            # A new name under the key of one who is quarantined would be an alias.
            if seen.is_new and (seen.crew, seen.kid) in self._aliases:
                return Answer(admitted=False)
            has_room = self._has_room(seen.crew, now)
            # Only a grant that was minted just now can be a name's first one.
            if (seen.is_new and not seen.is_old) or not has_room:
                admitted = self._greet(seen, now, steps, is_all=not has_room)
                if not (admitted and has_room):
                    return Answer(admitted, tuple(steps))
            conduct = self._enter(name, now)
            if conduct is None:  # strangers' account has taken the last place
                return Answer(admitted=True, steps=tuple(steps))
        self._conducts.move_to_end(name)
        self._note(name, conduct, seen, now, steps)
        self._hold(name, conduct)
        return Answer(conduct.admits(seen, self._of(name)), tuple(steps))

    def look(self, now: float, wall: int) -> tuple[list[Step], list[Saved]]:
        """Who of the next names is let go, and whose lessons are kept; `wall` as in `Place.look`.

        To be called about once a second; with very many names it takes minutes to see them all.
        """
        raised = list(islice(self._raised, limits.watch_look_names))
        steps = [step for name in raised if (step := self._calm(name, now, wall))]
        changed = []
        for _ in range(min(limits.watch_look_names, len(self._round))):
            name, conduct = self._round.popleft()
            if self._conducts.get(name) is not conduct:  # forgotten meanwhile
                continue
            self._round.append((name, conduct))
            conduct.turn(now)
            if conduct.learnt and now - conduct.saved >= limits.watch_save_seconds:
                conduct.learnt, conduct.saved = False, now
                changed.append(_saved(name, conduct))
        return steps, changed

    def quarantine(
        self, crew: str, orchestrator: str, now: float, wall: int, seconds: int = 0
    ) -> Step:
        """A person sets it, for so long or as long as its crew's are; NoRoomError."""
        name = crew, orchestrator
        conduct = self._must_enter(name, now)
        was = conduct.place.rung
        conduct.place.set(wall, wall + (seconds or self._of(name).quarantine_seconds))
        return self._moved(name, conduct, was, Cause.SET, by="owner")

    def lift(self, crew: str, orchestrator: str, wall: int) -> Step:
        """A person lets it go, and what it does from now on is learnt; IllegalStepError."""
        conduct = self._conducts.get((crew, orchestrator))
        if conduct is None:
            raise IllegalStepError("nothing holds it: it was never seen here")
        was = conduct.place.rung
        conduct.place.lift(wall)
        conduct.pardon()
        return self._moved((crew, orchestrator), conduct, was, Cause.LIFT, by="owner")

    def obey(
        self, crew: str, orchestrator: str, now: float, word: Word, *, is_news: bool
    ) -> Step | None:
        """What was said on another machine, if that moves anything; NoRoomError.

        What is throttled may be so since an old word was done, and a person said no more. Whom a
        person lets go is remembered too: an older word on it may be heard after that.
        """
        name = crew, orchestrator
        conduct = self._must_enter(name, now) if word.by else self._enter(name, now)
        if conduct is None or (conduct.place.rung is Rung.THROTTLE and not (word.by or is_news)):
            return None
        was = conduct.place.rung
        cause = conduct.place.obey(word)
        if cause is None:
            return None
        if cause is Cause.LIFT:
            conduct.pardon()
        return self._moved(name, conduct, was, cause, by=word.by or "owner")

    def standing(self, crew: str, orchestrator: str) -> Standing:
        """Where one stands; KeyError for one that is not known."""
        name = crew, orchestrator
        place = self._conducts[name].place
        in_force = place.in_force(self._of(name).mode)
        return Standing(*name, place.rung, in_force, place.by, place.held.until, place.owner)

    def standings(self) -> list[Standing]:
        """Who stands above `observe`, by name."""
        return [self.standing(*name) for name in sorted(self._raised)]

    def told(self, crew: str, orchestrator: str) -> Word | None:
        """What others are to hear of one, and have heard by now; None if that is nothing."""
        conduct = self._raised.get((crew, orchestrator))
        if conduct is None or not conduct.place.is_untold:
            return None
        conduct.place.is_untold = False
        return conduct.place.watch

    def saved(self, crew: str, orchestrator: str) -> Saved:
        """What is to be kept of one; KeyError for one that is not known."""
        return _saved((crew, orchestrator), self._conducts[crew, orchestrator])

    def __iter__(self) -> Iterator[Saved]:
        """What is to be kept of all."""
        return (_saved(name, conduct) for name, conduct in list(self._conducts.items()))

    def restore(self, kept: Iterable[Saved], now: float) -> None:
        """Begin with what was kept, oldest first. Calm has to be shown from now on."""
        newest = {(each.crew, each.orchestrator): each for each in kept}
        # Those that are held come first: they must find room.
        for name, each in sorted(newest.items(), key=lambda item: item[1].rung is Rung.OBSERVE):
            conduct = self._enter(name, now)
            if conduct is None:
                continue
            conduct.kid = each.kid
            conduct.place = place = Place(each.rung, each.by, now)
            place.owner, place.watch, place.is_untold = each.owner, each.watch, each.is_untold
            conduct.teach(each.lessons.items())
            if each.rung is not Rung.OBSERVE:
                self._raised[name] = conduct
                self._hold(name, conduct)

    def _greet(self, seen: Seen, now: float, steps: list[Step], *, is_all: bool) -> bool:
        """Count a stranger's grant for its crew: that it is there, or all of it; is it admitted?"""
        name = (seen.crew, strangers(seen.crew))
        crowd = self._conducts.get(name) or self._make(name, now)
        self._conducts.move_to_end(name)
        if not is_all:
            seen = msgspec.structs.replace(seen, **_BARE)
        self._note(name, crowd, seen, now, steps)
        return crowd.admits(seen, self._of(name))

    def _of(self, name: Name) -> Rules:
        return self._crowds.get(name[1]) or self._rules.get(name[0], _RULES)

    def _note(
        self, name: Name, conduct: Conduct, seen: Seen, now: float, steps: list[Step]
    ) -> None:
        rules = self._of(name)
        found = conduct.note(seen, now, rules)
        if found is None:
            return
        was = conduct.place.rung
        cause = conduct.place.strike(now, rules.strikes, rules.calm_seconds)
        if conduct.place.rung is Rung.QUARANTINE and was is not Rung.QUARANTINE:
            is_untold = conduct.place.in_force(rules.mode) is Rung.QUARANTINE
            conduct.place.hold(seen.at, seen.at + rules.quarantine_seconds, is_untold=is_untold)
        steps.append(self._moved(name, conduct, was, cause, finding=found, branch=seen.branch))

    def _calm(self, name: Name, now: float, wall: int) -> Step | None:
        rules, conduct = self._of(name), self._raised[name]
        was = conduct.place.rung
        self._raised.move_to_end(name)
        cause = conduct.place.look(now, wall, rules.mode, rules.calm_seconds)
        return self._moved(name, conduct, was, cause) if cause else None

    def _moved(
        self,
        name: Name,
        conduct: Conduct,
        was: Rung,
        cause: Cause,
        *,
        by: By = "",
        finding: Finding | None = None,
        branch: bytes = b"",
    ) -> Step:
        place = conduct.place
        if place.rung is Rung.OBSERVE:
            self._raised.pop(name, None)
            self._aliases.release(name)
        else:
            self._raised[name] = conduct
            self._hold(name, conduct)
        in_force = place.in_force(self._of(name).mode)
        by = by or place.by
        return Step(name[0], name[1], was, place.rung, in_force, cause, by, finding, branch)

    def _hold(self, name: Name, conduct: Conduct) -> None:
        """Note the key of one who is quarantined; strangers may have minted with anybody's."""
        is_one = name[1] != strangers(name[0])
        if is_one and conduct.place.in_force(self._of(name).mode) is Rung.QUARANTINE:
            self._aliases.hold(name, conduct.kid)

    def _enter(self, name: Name, now: float) -> Conduct | None:
        """The conduct of a name, made if there is room; a crew's strangers need none."""
        found = self._conducts.get(name)
        if found is None and (name[1] == strangers(name[0]) or self._has_room(name[0], now)):
            found = self._make(name, now)
        return found

    def _must_enter(self, name: Name, now: float) -> Conduct:
        conduct = self._enter(name, now)
        if conduct is None:
            raise NoRoomError(f"{self._names_max} orchestrators are watched: there is no room")
        return conduct

    def _make(self, name: Name, now: float) -> Conduct:
        conduct = self._conducts[name] = Conduct(name[0], self._room, now)
        self._round.append((name, conduct))
        self._count[name[0]] += 1
        return conduct

    def _has_room(self, crew: str, now: float) -> bool:
        """Half of the room at most is one crew's; who was silent for a day makes room."""
        if self._count[crew] >= self._names_max // 2:
            return self._forget(now, crew)
        return len(self._conducts) < self._names_max or self._forget(now, None)

    def _forget(self, now: float, crew: str | None) -> bool:
        for name, conduct in islice(self._conducts.items(), limits.watch_look_names):
            if now - conduct.seen < limits.watch_memory_seconds:
                return False
            if name not in self._raised and crew in {None, name[0]}:
                conduct.clear()
                del self._conducts[name]
                self._count[name[0]] -= 1
                return True
        return False


def _saved(name: Name, conduct: Conduct) -> Saved:
    place = conduct.place
    return Saved(
        *name, place.rung, place.by, conduct.kid, conduct.lessons(),
        place.owner, place.watch, place.is_untold,
    )  # fmt: skip
