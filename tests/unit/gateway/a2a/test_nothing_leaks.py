"""No answer tells a branch of the tasks of others, or leads it around the gateway.

The gate, the gateway and the sockets are real; a script plays the agent.
"""

import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from a2a_answers import TOTAL, Contexts, answer_to
from a2a_mutations import PATH, Request, Texts, requests
from gated_gateway import GatedGateway, gated_gateway
from gateway_world import AGENT, SEALER
from msgspec import structs
from search_depth import deep
from tariffs import cut

from crewgate.config import Config
from crewgate.config.a2a import WELL_KNOWN
from crewgate.core.a2a.methods import Version
from crewgate.core.sealed_ids import IdKind, IdOwner

CONTEXT = "my-own-context"
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\nConnection: close\r\n\r\n"


class Branch:
    """A branch at the endpoint: its token, and its ids."""

    def __init__(self, site: GatedGateway) -> None:
        self.site = site
        self.token = site.token(["research.*"])
        permit = site.house.permit(self.token.encode(), name="research.GetTask")
        permit.release()
        grant = permit.grant
        self.owner = IdOwner(grant.crew, grant.branch_key, "research")
        # Another branch, and this one at another endpoint.
        self.others = (
            IdOwner(grant.crew, bytes(16), "research"),
            IdOwner(grant.crew, grant.branch_key, "other"),
        )

    def sealed(self, text: str, kind: IdKind, owner: IdOwner | None = None) -> str:
        """An id as this branch gets it, or another `owner`."""
        return SEALER.seal(text, kind, owner or self.owner)

    def contexts(self, request: Request) -> Contexts:
        """The agent's names of contexts: those of which a request may list tasks, and all others.

        That is the one that it names, or all of the branch.
        """
        kinds = (IdKind.A2A_CONTEXT_OF_CLIENT, IdKind.A2A_CONTEXT_OF_GATEWAY)
        own = [self.sealed(CONTEXT, kind) for kind in kinds]
        others = [self.sealed(CONTEXT, kind, owner) for kind in kinds for owner in self.others]
        others += ["", "RAW.context", self.sealed("RAW.context", IdKind.A2A_CONTEXT)]
        if _names(request, CONTEXT):
            others.append(own.pop())
        return Contexts(own, others)

    def requests(self, task: str = "", context: str = CONTEXT) -> list[Request]:
        """Valid requests of all methods, which name this task and context."""
        task = task or self.sealed("RAW.asked", IdKind.A2A_TASK)
        own = {
            "task": task,
            "name": f"tasks/{task}",
            "config-name": f"tasks/{task}/pushNotificationConfigs/c1",
            "context": context,
            "page": self.sealed("RAW.page", IdKind.A2A_PAGE),
            "tenant": "acme",
            "url": "https://hooks.example/updates",
        }
        return requests(Texts(own, ()))

    async def send(self, request: Request) -> Any:
        """Send a request with the token of the branch."""
        headers = [(name.decode(), value.decode()) for name, value in request.fields]
        return await self.site.client.request(
            request.method,
            request.target,
            content=request.body,
            headers=[*headers, ("authorization", f"Bearer {self.token}")],
        )


def _configure(config: Config) -> Config:
    agent = structs.replace(
        AGENT,
        price=0,
        methods=(),
        grpc="tools",
        push_origins=("https://hooks.example",),
        list_all_contexts=True,
    )
    return structs.replace(config, a2a=(agent,))


@pytest.fixture
async def branch(tmp_path: Path) -> AsyncIterator[Branch]:
    async with gated_gateway(tmp_path, _configure, ("research.*",), http2=True) as site:
        yield Branch(site)


def _seen(response: Any) -> tuple[int, list[tuple[str, str]], bytes]:
    """A response without what differs by chance."""
    chance = response.headers.get("x-crewgate-request", "")
    fields = [
        (name, value.replace(chance, "REQUEST"))
        for name, value in response.headers.multi_items()
        if name not in {"date", "x-crewgate-request"}
    ]
    return response.status_code, fields, response.content


def _names(request: Request, task: str) -> bool:
    return task in request.target or task.encode() in request.body


async def test_a_task_of_another_branch_looks_like_one_that_does_not_exist(branch: Branch) -> None:
    """By each method, binding and version; the agent is not asked."""
    foreign = (
        "RAW.asked",
        *(branch.sealed("RAW.asked", IdKind.A2A_TASK, owner) for owner in branch.others),
        branch.sealed("RAW.asked", IdKind.A2A_CONTEXT),
    )
    answers = []
    for task in foreign:
        named = [each for each in branch.requests(task) if _names(each, task)]
        answers.append([_seen(await branch.send(each)) for each in named])
    assert len(answers[0]) > 20
    assert answers == [answers[0]] * len(foreign)
    assert branch.site.asked == []


async def test_no_answer_tells_of_others(branch: Branch) -> None:
    """Over all methods, bindings and versions: results, lists, events and cards, cut anywhere."""
    dice = random.Random(9)
    valid = branch.requests() + branch.requests(context="")
    accept = [(b"accept", b"*/*")]
    card = Request("GET", PATH + WELL_KNOWN, accept, b"", "GetExtendedAgentCard", Version.V1_0)
    for _ in range(deep(150)):
        request = dice.choice([*valid, card])
        answer = answer_to(request, branch.contexts(request), dice)
        places = [dice.randrange(10_000) for _ in range(4)]
        branch.site.answer = [HEAD % answer.content_type, *cut(answer.body, places)]
        response = await branch.send(request)
        assert response.status_code == 200, (request, response.text)
        shown = response.text + str(response.headers.multi_items())
        assert '"error"' not in shown, (request, answer, shown)
        assert response.headers.get("grpc-status", "0") == "0"
        for secret in ("RAW.", "\\u0052AW.", "HIDDEN"):
            assert secret not in shown, (request, answer, shown)
        if request.call == "ListTasks":
            assert shown.count("SHOWN") == answer.shown
            # The agent's count may be of all branches.
            assert str(TOTAL) not in shown or (
                b"HIDDEN" not in answer.body and _names(request, CONTEXT)
            )
        await branch.site.world.settled()
