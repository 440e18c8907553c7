"""What the endpoints of the live page share."""

import logging
from collections.abc import Callable
from pathlib import Path

import trio

from crewgate import limits
from crewgate.alerts.budget_watch import allowances_of
from crewgate.alerts.local_machine import local_machine
from crewgate.api.caller_concurrency_limit import CallerConcurrencyLimiter
from crewgate.config import Config, UIConfig
from crewgate.errors import ConfigurationError
from crewgate.ui.actions.completed_actions import CompletedActions
from crewgate.ui.document_room import DocumentRoom
from crewgate.ui.live.feed import LiveFeed
from crewgate.ui.person_limit import PersonLimiter

_log = logging.getLogger(__name__)


class PageState:
    """The configuration of the page, and the feed that goes on beside its requests.

    `config` is that of now: the code that loads a changed file replaces it. `on_action` gets a line
    for each action of a person: who has done what.
    """

    def __init__(self, config: Config, on_action: Callable[[str], None] = _log.info) -> None:
        self.config = config
        self.on_action = on_action
        self.live = LiveFeed(local_machine(config), lambda: allowances_of(self.config))
        self.completed_actions = CompletedActions()
        self.action_limit = PersonLimiter(
            "order an action", limits.ui_actions_per_second, limits.ui_actions_burst
        )
        self.stream_limit = PersonLimiter(
            "open a page", limits.ui_streams_per_second, limits.ui_streams_burst
        )
        self.refusal_limit = PersonLimiter(
            "be refused", limits.ui_refusals_per_second, limits.ui_refusals_burst
        )
        self.action_threads = trio.CapacityLimiter(limits.ui_action_threads_max)
        self.certificate_processes = trio.CapacityLimiter(limits.ui_ca_processes_max)
        self.document_room = DocumentRoom()
        self.question_limit = PersonLimiter(
            "ask the audits", limits.ui_questions_per_second, limits.ui_questions_burst
        )
        self.questions_under_way = CallerConcurrencyLimiter(limits.ui_questions_of_one_max)
        self.question_threads = trio.CapacityLimiter(limits.ui_questions_at_once_max)

    @property
    def page(self) -> UIConfig:
        """The section [ui], or what stands for it."""
        if self.config.ui is None:
            raise ConfigurationError(f"{self.config.path}: there is no [ui]; add the section")
        return self.config.ui

    @property
    def folder(self) -> Path:
        """The state folder, where the agent of this machine listens."""
        return self.config.state

    async def run(self) -> None:
        """Do what goes on beside requests, until cancelled."""
        await self.live.run()
