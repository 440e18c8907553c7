"""Who may do what, as far as it concerns the crews that a person may view."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from live_page import viewer
from page_world import PageWorld

from crewgate.errors import ControlError
from crewgate.ui.access_list import access
from crewgate.ui.endpoint import PageRequest
from crewgate.ui.person import Person

MORE = """
[ui.login]
issuer = "https://id.example"
client_id = "crewgate"
[ui.access.oncall]
groups = ["sre"]
rights = ["operate", "ca"]
[ui.access.writers]
people = ["ada@example.com"]
crews = ["article", "bd"]
[ui.access.bd]
groups = ["bd"]
rights = ["budget"]
crews = ["bd"]
[crew.article.role.writer]
credits_per_branch = "5"
[crew.article.orchestrator."article/article-1"]
depth = 1
"""


async def seen_by(world: PageWorld, person: Person) -> dict[str, Any]:
    request = PageRequest({}, {}, b"", look_up=lambda: person)
    answer = await access(world.state, person, request)
    found: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(answer))
    return found


async def test_who_sees_all_crews_sees_all(tmp_path: Path) -> None:
    """The limits of roles and orchestrators too; no limit is None."""
    found = await seen_by(PageWorld(tmp_path, MORE), viewer())
    assert [(each["access"], each["crews"]) for each in found["people"]] == [
        ("oncall", ["*"]), ("writers", ["article", "bd"]), ("bd", ["bd"]),
    ]  # fmt: skip
    assert found["people"][0]["rights"] == ["operate", "ca"]
    assert found["operators"] is False
    article, bd = found["crews"]
    assert (article["crew"], bd["crew"]) == ("article", "bd")
    assert (article["tools"], article["credits_micro"]) == (["search.*"], None)
    (role,), (orchestrator,) = article["roles"], article["orchestrators"]
    assert (role["role"], role["credits_micro"]) == ("writer", 5_000_000)
    assert (orchestrator["orchestrator"], orchestrator["depth"]) == ("article/article-1", 1)


async def test_who_sees_one_crew_sees_nothing_of_others(tmp_path: Path) -> None:
    """Of people with rights for several crews, only the crews that both have."""
    found = await seen_by(PageWorld(tmp_path, MORE), viewer("article"))
    assert [(each["access"], each["crews"]) for each in found["people"]] == [
        ("oncall", ["*"]), ("writers", ["article"]),
    ]  # fmt: skip
    assert [crew["crew"] for crew in found["crews"]] == ["article"]
    with pytest.raises(ControlError):
        await seen_by(PageWorld(tmp_path, MORE), Person("person/eve", "login", {}))
