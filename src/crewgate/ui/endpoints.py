"""The endpoints of the live page for a person with a session; the routes are made from them."""

from typing import Final

from crewgate.ui.access_list import ACCESS
from crewgate.ui.actions.endpoint import ACTION
from crewgate.ui.branch_history import BRANCH
from crewgate.ui.endpoint import PageEndpoint
from crewgate.ui.live.stream import LIVE
from crewgate.ui.replay.endpoints import EXPORT, REPLAY, RUNS

ENDPOINTS: Final[tuple[PageEndpoint, ...]] = (
    LIVE,
    BRANCH,
    ACCESS,
    ACTION,
    RUNS,
    REPLAY,
    EXPORT,
)
