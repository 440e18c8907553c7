"""A request for an action: what it asks for, and the right that it needs."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from crewgate import limits
from crewgate.api import access
from crewgate.core import cross_crew_accounts
from crewgate.core.ids import EntityKind
from crewgate.core.revocation_kinds import KINDS, RevocationTarget
from crewgate.core.tokens.claims import is_text
from crewgate.ipc.admin_messages import Until
from crewgate.ui.person import Person, Right

ActionName = Literal["end", "quarantine", "lift", "forgive", "revoke-orchestrator"]
_Text = Annotated[str, Meta(max_length=limits.claim_chars_max)]
_RIGHTS: dict[ActionName, Right] = {
    "end": Right.OPERATE, "quarantine": Right.OPERATE, "lift": Right.OPERATE,
    "forgive": Right.BUDGET, "revoke-orchestrator": Right.CA,
}  # fmt: skip
_KINDS = {
    "branch": EntityKind.BRANCH,
    "grant": EntityKind.GRANT,
    "process": EntityKind.PROCESS,
    "subject": EntityKind.SUBJECT,
    "orchestrator": EntityKind.ORCHESTRATOR,
}


class ActionRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One action, on one target: `branch`, `grant`, `process`, `subject` or `orchestrator`.

    - `crew` is the crew of the target. Only a subject may have none: it is one of all crews.
    - `all_tokens` stands for the target: all tokens of the crew issued until now.
    - `orchestrator` is its `client_id`. To end it revokes its tokens issued until now.
    - `seconds` is the length of a quarantine; 0: the crew's usual time.
    - `until` is as in `Revoke`. `reason` is for the audit; of certificates, it is one of RFC 5280.
    - An action with an `id` is done once, however often the browser sends it.
    """

    action: ActionName
    crew: _Text = ""
    branch: _Text = ""
    grant: _Text = ""
    process: _Text = ""
    subject: _Text = ""
    orchestrator: _Text = ""
    all_tokens: bool = False
    seconds: int = 0
    until: Until = ""
    reason: Annotated[str, Meta(max_length=limits.reason_chars_max)] = ""
    id: Annotated[str, Meta(max_length=limits.ui_action_id_chars_max)] = ""

    def demand_right(self, person: Person) -> None:
        """Raise ControlError 403 unless the person may do this for the crew."""
        person.demand(_RIGHTS[self.action], self.crew)

    def target(self) -> RevocationTarget:
        """Return what to end. Raises ControlError 400 unless it is exactly one thing."""
        named = {field: getattr(self, field) for field in _KINDS}
        given = [(_KINDS[field], name) for field, name in named.items() if name]
        if self.all_tokens:
            given.append((EntityKind.CREW, self.crew))
        if len(given) != 1:
            access.malformed(f"name exactly one of {', '.join(_KINDS)} and all_tokens")
        ((kind, name),) = given
        if not self.crew and kind is not EntityKind.SUBJECT:
            access.malformed("crew: name the crew")
        try:
            KINDS[kind].identifier(name)
        except ValueError as error:
            access.malformed(f"{kind.label}: {error}")
        if kind is EntityKind.ORCHESTRATOR and not is_text(name):
            access.malformed("orchestrator: expected a `client_id`, such as article/article-1")
        crew = self.owner if kind is EntityKind.ORCHESTRATOR else self.crew
        return RevocationTarget(kind, name, crew)

    @property
    def owner(self) -> str:
        """The crew of an orchestrator: of calls at another crew, the one that calls."""
        return cross_crew_accounts.caller(self.crew)

    def only(self, field: Literal["branch", "orchestrator"]) -> str:
        """Return the target of an action that knows one kind. Raises ControlError 400."""
        name: str = getattr(self, field)
        others = [each for each in _KINDS if each != field and getattr(self, each)]
        if not name or not self.crew or others or self.all_tokens:
            access.malformed(f"{self.action}: name the crew and the {field}, and nothing else")
        return name
