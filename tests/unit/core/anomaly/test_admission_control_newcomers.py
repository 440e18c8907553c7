"""The minting watch against names that nobody knows: rates, aliases, and what has no room."""

from minting_world import WALL, seen

from crewgate.core.anomaly.admission_control import AdmissionController
from crewgate.core.anomaly.enforcement import EnforcementLevel
from crewgate.core.anomaly.results import newcomers_account
from crewgate.core.anomaly.types import WatchRules

ENFORCED = WatchRules(mode=EnforcementLevel.QUARANTINE)
DAY = 86_400.0


def watch(rules: WatchRules = ENFORCED, **bounds: int) -> AdmissionController:
    """Over one crew."""
    made = AdmissionController(**bounds)
    made.load({"article": rules})
    return made


def test_inventing_names_is_itself_a_rate() -> None:
    """A name a grant never trips any of them, so their first grants count together."""
    made = watch(
        WatchRules(mode=EnforcementLevel.QUARANTINE, mints_per_minute=2, newcomers_per_minute=20)
    )
    found = []
    for number in range(100):
        answer = made.observe(seen(number, orchestrator=f"article/{number}"), number * 0.1)
        found += [(number, step.orchestrator) for step in answer.steps]
    assert found == [(20, "article/*")]
    assert not made.observe(seen(999, orchestrator="article/new"), 11.0).admitted
    assert made.observe(seen(998, orchestrator="article/3"), 11.0).admitted


def test_a_new_name_is_no_way_out_of_a_quarantine() -> None:
    """Not under the key that the quarantined one minted with; others go on, and so do old names."""
    made = watch()
    made.observe(seen(1), 0.0)
    made.observe(seen(2, orchestrator="article/old"), 0.0)
    made.quarantine("article", "article/one", 1.0, WALL)
    assert not made.observe(seen(3, orchestrator="article/alias"), 2.0).admitted
    assert made.observe(seen(4, orchestrator="article/other", kid="k2"), 2.0).admitted
    assert made.observe(seen(5, orchestrator="article/old"), 2.0).admitted
    assert not made.observe(seen(6, kid="k3"), 2.0).admitted
    assert not made.observe(seen(7, orchestrator="article/third", kid="k3"), 2.0).admitted
    made.load({"article": WatchRules()})  # what a person has set holds in any mode
    assert not made.observe(seen(3, orchestrator="article/alias"), 3.0).admitted
    made.lift("article", "article/one", WALL)
    assert made.observe(seen(3, orchestrator="article/alias"), 3.0).admitted
    assert made.observe(seen(7, orchestrator="article/third", kid="k3"), 3.0).admitted


def test_an_alias_is_held_only_while_the_quarantine_is_in_force() -> None:
    """A mode that is lowered, or raised, decides at once about those that are noted."""
    strict = {"mints_per_minute": 1, "strikes": 1}
    made = watch(WatchRules(**strict))
    made.observe(seen(1), 0.0)
    made.observe(seen(2), 0.0)
    assert made.observe(seen(3, orchestrator="article/a"), 1.0).admitted
    made.load({"article": WatchRules(mode=EnforcementLevel.QUARANTINE, **strict)})
    assert not made.observe(seen(4, orchestrator="article/b"), 1.0).admitted
    made.load({"article": WatchRules(mode=EnforcementLevel.THROTTLE, **strict)})
    assert made.observe(seen(5, orchestrator="article/b"), 1.0).admitted


def test_many_who_are_throttled_are_all_seen_to_be_calm() -> None:
    """A look is bounded, and the next one goes on where it ended."""
    made = watch(WatchRules(mints_per_minute=1))
    for number in range(150):
        for branch in range(2):
            made.observe(seen(1000 * number + branch, orchestrator=f"article/{number}"), 0.0)
    assert len(made.states()) == 150
    looks = [len(made.poll(900.0 + number, WALL)[0]) for number in range(4)]
    assert looks == [64, 64, 22, 0]
    assert made.states() == []


def test_strangers_without_room_share_one_account() -> None:
    """They are counted together; nobody else's baseline is forgotten for them."""
    made = watch(WatchRules(mode=EnforcementLevel.QUARANTINE, depth=2), names_max=8)
    for number in range(20):
        made.observe(seen(number, orchestrator=f"article/{number}"), number * 60.0)
    assert len(made) == 4
    answer = made.observe(seen(99, orchestrator="article/99", depth=3), 9999.0)
    assert [step.orchestrator for step in answer.steps] == [newcomers_account("article")]
    assert made.observe(seen(98, orchestrator="bd/one", crew="bd"), 9999.0).admitted
    assert len(made) == 6


def test_who_was_silent_for_a_day_makes_room() -> None:
    """Unless it is held: nobody outwaits a quarantine."""
    made = watch(names_max=8)
    for number in range(3):
        made.observe(seen(number, orchestrator=f"article/{number}"), 0.0)
    made.quarantine("article", "article/0", 0.0, WALL)
    made.observe(seen(9, orchestrator="article/9", kid="k2"), 2 * DAY)
    kept = [each.orchestrator for each in made]
    assert "article/9" in kept
    assert "article/0" in kept
    assert len(made) == 4


def test_strangers_who_come_all_the_time_keep_no_place_of_the_silent() -> None:
    """Their account was there first, and was seen a moment ago."""
    made = watch(names_max=6)
    for half_days, name in enumerate(("old", "mid", "late")):
        made.observe(seen(half_days, orchestrator=f"article/{name}"), half_days * DAY / 2)
    kept = {each.orchestrator for each in made}
    assert kept == {newcomers_account("article"), "article/mid", "article/late"}


def test_the_last_place_may_be_the_strangers() -> None:
    """A newcomer that was welcome a moment before has none then, and shares theirs."""
    made = watch(names_max=2)
    assert made.observe(seen(1), 0.0).admitted
    assert [each.orchestrator for each in made] == ["article/*"]
    assert made.observe(seen(2), 0.0).admitted
