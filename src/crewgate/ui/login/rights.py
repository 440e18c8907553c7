"""Looks up in the active configuration what a person may do."""

from crewgate.config import UIConfig, UILoginConfig
from crewgate.core.actors import ActorKind
from crewgate.ui.login.session import ProvenPerson
from crewgate.ui.person import Person, Right, all_rights, rights_of


def source_of(login: UILoginConfig) -> str:
    """Return the provider and the claims that name a person.

    The same name from another provider or claim is that of another person.
    """
    return f"{login.issuer} {login.client_id} {login.username_claim} {login.groups_claim}"


def person_of(proven: ProvenPerson, page: UIConfig) -> Person | None:
    """Return a person with the rights of now; None if there is no right left."""
    if proven.way == "login":
        is_known = page.login is not None and proven.source == source_of(page.login)
        name, groups = ActorKind.PERSON.name_in(proven.name), {*proven.groups}
        grants = [
            ([Right(right) for right in access.rights], access.crews)
            for access in (page.access if is_known else ())
            if name in access.people or groups & {*access.groups}
        ]
        rights = rights_of(grants)
        return Person(proven.name, proven.way, rights) if rights else None
    if proven.way == "certificate" and not page.asks_certificates:
        return None
    return Person(proven.name, proven.way, all_rights())
