"""The official client works through the gateway unchanged, and sees what its branch may see."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import httpx
import pytest
from a2a.client.errors import A2AClientError
from a2a.types import (
    GetExtendedAgentCardRequest,
    GetTaskRequest,
    TaskPushNotificationConfig,
    TaskState,
)
from a2a.utils.errors import PushNotificationNotSupportedError, TaskNotFoundError
from a2a_clients import BINDINGS, Caller, calling, request
from a2a_gateway import A2AGateway

every_binding = pytest.mark.parametrize("binding", BINDINGS)


def run_in_loop(work: Coroutine[Any, Any, None]) -> None:
    """Run what the official client does, which knows asyncio only."""
    asyncio.run(work)


@every_binding
def test_a_branch_works_with_its_tasks_and_no_others(gateway: A2AGateway, binding: str) -> None:
    """Ids are the same in all answers, go on a conversation, and mean nothing to another branch."""
    run, other = gateway.start(), gateway.start()

    async def talk() -> None:
        async with calling(gateway, run, binding) as one, calling(gateway, other, binding) as two:
            task = (await one.first("hello")).task
            assert task.artifacts[0].parts[0].text == "hello"
            assert {each.task_id for each in task.history} == {task.id}
            assert {each.context_id for each in task.history} == {task.context_id}
            seen = await one.client.get_task(GetTaskRequest(id=task.id))
            assert (seen.id, seen.context_id) == (task.id, task.context_id)
            again = (await one.first("more", context_id=task.context_id)).task
            assert again.context_id == task.context_id
            assert await one.tasks() == {task.id, again.id}
            assert await one.tasks(context_id=task.context_id) == {task.id, again.id}
            chosen = (await one.first("mine", context_id="my-own")).task
            assert chosen.context_id == "my-own"
            assert await one.tasks(context_id="my-own") == {chosen.id}
            await check_foreign(two, task.id, task.context_id)
            theirs = (await two.first("mine", context_id="my-own")).task
            assert await two.tasks(context_id="my-own") == await two.tasks() == {theirs.id}
            reply = (await one.first("reply")).message
            assert reply.parts[0].text == "reply"

    async def check_foreign(two: Caller, task: str, context: str) -> None:
        for unknown in (task, "no-such-task"):
            with pytest.raises(TaskNotFoundError):
                await two.client.get_task(GetTaskRequest(id=unknown))
            with pytest.raises(TaskNotFoundError):
                await two.first("hello", task_id=unknown)
        assert await two.tasks() == await two.tasks(context_id=context) == set()

    run_in_loop(talk())


@every_binding
def test_a_stream_shows_the_work(gateway: A2AGateway, binding: str) -> None:
    """Each event comes as the agent sends it, with the ids of the branch."""

    async def talk() -> None:
        async with calling(gateway, gateway.start(), binding, streams=True) as one:
            events = [event async for event in one.client.send_message(request("parts 3"))]
            kinds = [event.WhichOneof("payload") for event in events]
            assert kinds == ["task", "status_update", *["artifact_update"] * 3, "status_update"]
            task = events[0].task.id
            assert {event.artifact_update.task_id for event in events[2:5]} == {task}
            assert events[-1].status_update.status.state == TaskState.TASK_STATE_COMPLETED

    run_in_loop(talk())


@every_binding
def test_a_token_names_methods(gateway: A2AGateway, binding: str) -> None:
    """A method that it does not name is refused, and one that costs too much as well."""
    run = gateway.start("0.01", ["agent.SendMessage"])

    async def talk() -> None:
        async with calling(gateway, run, binding) as one:
            task = (await one.first("hello")).task
            with pytest.raises(A2AClientError, match=r"403|PERMISSION_DENIED"):
                await one.client.get_task(GetTaskRequest(id=task.id))
            with pytest.raises(A2AClientError, match=r"credits|403"):
                await one.first("hello")

    run_in_loop(talk())


@every_binding
def test_pushes_go_to_named_origins_only(gateway: A2AGateway, binding: str) -> None:
    """The agent may push to one origin; another would get results around the gateway."""

    async def talk() -> None:
        async with calling(gateway, gateway.start(), binding) as one:
            assert one.card.capabilities.push_notifications
            task = (await one.first("input")).task
            create = one.client.create_task_push_notification_config
            config = TaskPushNotificationConfig(task_id=task.id, url="https://hooks.example/a")
            made = await create(config)
            assert (made.task_id, made.url) == (task.id, "https://hooks.example/a")
            for url in ("https://evil.example/", "https://hooks.example@evil.example/"):
                with pytest.raises(PushNotificationNotSupportedError):
                    await create(TaskPushNotificationConfig(task_id=task.id, url=url))
            with pytest.raises(TaskNotFoundError):
                await create(TaskPushNotificationConfig(task_id="x", url=config.url))

    run_in_loop(talk())


@every_binding
def test_the_card_leads_to_the_gateway(gateway: A2AGateway, binding: str) -> None:
    """The extended card as well, which each binding has in its own form."""

    async def talk() -> None:
        async with calling(gateway, gateway.start(), binding) as one:
            extended = await one.client.get_extended_agent_card(GetExtendedAgentCardRequest())
            for card in (one.card, extended):
                urls = {each.url for each in card.supported_interfaces}
                assert urls == {gateway.url, gateway.authority}
                assert list(card.security_schemes) == ["crewgate"]

    run_in_loop(talk())


def test_the_card_stands_at_the_well_known_path(gateway: A2AGateway) -> None:
    """Without a token it is any other path."""
    url = f"https://{gateway.authority}/.well-known/agent-card.json"
    with httpx.Client(verify=gateway.trust()) as http:
        assert http.get(url).status_code == 401
        answer = http.get(url, headers={"authorization": f"Bearer {gateway.start().token()}"})
    assert answer.json()["supportedInterfaces"][0]["url"] == gateway.url
    assert answer.headers["etag"]


def test_the_agent_learns_the_budget(gateway: A2AGateway) -> None:
    """The extension says what the branch has left; the response says so to the client."""
    run = gateway.start("0.05")
    message = {"messageId": "m", "role": "ROLE_USER", "parts": [{"text": "hi"}]}
    body = {"jsonrpc": "2.0", "id": 1, "method": "SendMessage", "params": {"message": message}}
    headers = {"authorization": f"Bearer {run.token()}", "a2a-version": "1.0"}
    with httpx.Client(verify=gateway.trust(), headers=headers) as http:
        answer = http.post(gateway.url, json=body)
    sent = gateway.agent.observed()["requests"][-1]["headers"]
    assert sent["x-crewgate-credits-left"] == "0.04"
    assert sent["a2a-extensions"] == "https://crewgate.dev/a2a/budget/v1"
    assert answer.headers["x-crewgate-credits-left"] == "0.04"
    budget = answer.headers["aauth-budget"]
    assert budget == 'remaining=40000, cost=10000, unit="credit", decimals=6'


def test_version_0_3_works_as_well(gateway: A2AGateway) -> None:
    """Its method names, its results without a wrapper, and its paths."""
    message = {"kind": "message", "messageId": "m", "role": "user",
               "parts": [{"kind": "text", "text": "hi"}]}  # fmt: skip
    headers = {"authorization": f"Bearer {gateway.start().token()}"}
    with httpx.Client(verify=gateway.trust(), headers=headers) as http:

        def call(method: str, params: object) -> Any:
            body = {"jsonrpc": "2.0", "id": "a", "method": method, "params": params}
            return http.post(gateway.url, json=body).json()

        task = call("message/send", {"message": message})["result"]
        seen = call("tasks/get", {"id": task["id"]})["result"]
        assert (seen["id"], seen["kind"]) == (task["id"], "task")
        assert task["history"][0]["taskId"] == task["id"]
        assert call("tasks/get", {"id": "x"})["error"]["code"] == -32001
        path = f"{gateway.url}/v1/tasks/{task['id']}"
        assert http.get(path).json()["id"] == task["id"]
        assert http.get(path[:-1]).status_code == 404
        refused = call("tasks/get", {"id": task["id"], "ID": "x"})
        assert refused["error"]["code"] == -32602
