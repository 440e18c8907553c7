"""Quarantines of the minting watch: what they leave alone, how they end, what others hear."""

import pytest
from minting_world import WALL, seen

from crewgate import limits
from crewgate.core.anomaly.admission_control import AdmissionController
from crewgate.core.anomaly.enforcement import (
    EnforcementLevel,
    EnforcementOrder,
    IllegalStepError,
    NoRoomError,
    TransitionCause,
)
from crewgate.core.anomaly.results import OrchestratorStatus
from crewgate.core.anomaly.types import WatchRules

ENFORCED = WatchRules(mode=EnforcementLevel.QUARANTINE)


def watch(rules: WatchRules = ENFORCED, **bounds: int) -> AdmissionController:
    """Over one crew."""
    made = AdmissionController(**bounds)
    made.load({"article": rules})
    return made


def test_a_quarantine_leaves_live_branches_alone() -> None:
    """They are refreshed for what they have; new, woken and growing ones are refused."""
    made = watch()
    made.observe(seen(1), 0.0)
    made.quarantine("article", "article/one", 1.0, WALL)
    assert made.observe(seen(1, iat=101, is_new=False), 2.0).admitted
    assert not made.observe(seen(1, iat=102, is_new=False, grows=True), 3.0).admitted
    assert not made.observe(seen(2), 4.0).admitted
    assert not made.observe(seen(1, iat=103), 5000.0).admitted
    assert made.observe(seen(2, crew="bd", orchestrator="bd/one"), 4.0).admitted


def test_who_was_never_seen_can_be_quarantined_beforehand() -> None:
    """For as long as its crew's are, unless a person says another time; nothing is lifted twice."""
    made = watch()
    with pytest.raises(
        IllegalStepError, match="there is nothing to lift: this machine has never seen it"
    ):
        made.lift("article", "article/one", WALL)
    ends = []
    for seconds in (0, 60):
        made.quarantine("article", "article/one", 0.0, WALL, seconds)
        (standing,) = made.states()
        ends.append(standing.until - WALL)
    assert ends == [limits.quarantine_seconds, 60]
    word = EnforcementOrder(WALL + 1, "owner", WALL + 60)
    held = (EnforcementLevel.QUARANTINE, EnforcementLevel.QUARANTINE, "owner", WALL + 60, word)
    assert standing == OrchestratorStatus("article", "article/one", *held)
    assert not made.observe(seen(1), 1.0).admitted
    made.lift("article", "article/one", WALL)
    with pytest.raises(IllegalStepError, match="neither"):
        made.lift("article", "article/one", WALL)


def test_at_its_end_what_was_minted_meanwhile_is_admitted() -> None:
    """It only had to wait; what was usual stays so, and the alias's key is free."""
    made = watch(
        WatchRules(
            mode=EnforcementLevel.QUARANTINE, mints_per_minute=1, strikes=1, quarantine_seconds=60
        )
    )
    for number in (1, 2, 3):
        made.observe(seen(number), 0.0)
    assert not made.observe(seen(4, at=WALL + 59), 60.0).admitted
    assert not made.observe(seen(5, orchestrator="article/alias"), 60.0).admitted
    assert made.poll(119.0, WALL + 59)[0] == []
    assert made.poll(120.0, 0)[0] == []
    ((step,), _) = made.poll(120.0, WALL + 60)
    assert (step.was, step.level, step.cause) == (
        EnforcementLevel.QUARANTINE,
        EnforcementLevel.OBSERVE,
        TransitionCause.LAPSE,
    )
    assert made.observe(seen(2), 121.0).admitted
    assert made.observe(seen(4), 121.0).admitted
    assert made.observe(seen(5, orchestrator="article/alias"), 121.0).admitted


def test_what_the_watch_has_found_others_hear_once() -> None:
    """If it is in force; what a person has set, and what others have told, it does not tell."""
    for mode in EnforcementLevel:
        made = watch(WatchRules(mode=mode, mints_per_minute=1, strikes=1))
        for number in (1, 2):
            made.observe(seen(number), 0.0)
        word = EnforcementOrder(WALL, "watch", WALL + limits.quarantine_seconds)
        heard = word if mode is EnforcementLevel.QUARANTINE else None
        assert [made.announced_order("article", "article/one") for _ in range(2)] == [heard, None]
    made.apply_remote("article", "article/two", 0.0, word, is_news=True)
    made.quarantine("article", "article/three", 0.0, WALL)
    assert made.announced_order("article", "article/two") is None
    assert made.announced_order("article", "article/three") is None
    assert made.announced_order("article", "article/four") is None


def test_where_there_is_no_room_for_a_name_that_is_said() -> None:
    """Not for one that others hold; a crew's strangers always have their account."""
    made = watch(names_max=2)
    made.observe(seen(1), 0.0)
    word = EnforcementOrder(WALL, "owner", WALL + 60)
    with pytest.raises(NoRoomError, match="the watch has no room: it keeps 2 orchestrators"):
        made.apply_remote("article", "article/two", 0.0, word, is_news=True)
    assert (
        made.apply_remote("article", "article/two", 0.0, EnforcementOrder(WALL), is_news=True)
        is None
    )
    full = watch(names_max=0)
    assert full.apply_remote("article", "article/*", 0.0, word, is_news=True) is not None
