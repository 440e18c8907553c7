"""A revocation reaches what an A2A agent still does for the branch, by each binding."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from a2a.client.errors import A2AClientError
from a2a.types import (
    CancelTaskRequest,
    GetTaskRequest,
    StreamResponse,
    SubscribeToTaskRequest,
    TaskState,
)
from a2a.utils.errors import TaskNotFoundError
from a2a_clients import BINDINGS, Caller, calling, request
from a2a_gateway import A2AGateway
from installation import wait_until


async def reason_of(stream: AsyncIterator[StreamResponse]) -> str:
    """Read a stream to its end, and return the error that ended it."""
    try:
        async for _ in stream:
            pass
    except A2AClientError as error:
        return str(error)
    return "it ended without an error"


@pytest.mark.parametrize("binding", BINDINGS)
def test_tasks_and_streams_end_with_their_branch(gateway: A2AGateway, binding: str) -> None:
    """The client reads why its calls ended. The task of another branch goes on.

    A client that waits for the end of a task has not seen its id, and the gateway has not either.
    """
    run, other = gateway.start(), gateway.start()
    before = gateway.agent.observed()

    def grown(name: str, count: int) -> None:
        wait_until(lambda: len(gateway.agent.observed()[name]) >= len(before[name]) + count)

    async def talk() -> None:
        async with (
            calling(gateway, run, binding, streams=True) as one,
            calling(gateway, run, binding) as waiting,
            calling(gateway, other, binding, streams=True) as two,
        ):
            theirs = (await two.first("work", waits=False)).task.id
            sent = one.client.send_message(request("work"))
            task = (await anext(sent)).task.id
            watched = one.client.subscribe(SubscribeToTaskRequest(id=task))
            assert (await anext(watched)).task.id == task
            await check_foreign(two, task)
            waits = asyncio.create_task(waiting.first("work"))
            await asyncio.to_thread(grown, "working", 3)
            await asyncio.to_thread(gateway.orchestrator.revoke, run)
            with pytest.raises(A2AClientError, match=r"[Bb]ranch.revoked|401"):
                await waits
            for stream in (sent, watched):
                assert "branch revoked" in (await reason_of(stream)).lower()
            with pytest.raises(A2AClientError, match=r"401|UNAUTHENTICATED"):
                await one.client.get_task(GetTaskRequest(id=task))
            await asyncio.to_thread(grown, "cancelled", 2)
            seen = await two.client.get_task(GetTaskRequest(id=theirs))
            assert seen.status.state == TaskState.TASK_STATE_WORKING
            ended = await two.client.cancel_task(CancelTaskRequest(id=theirs))
            assert (ended.id, ended.status.state) == (theirs, TaskState.TASK_STATE_CANCELED)

    async def check_foreign(two: Caller, task: str) -> None:
        with pytest.raises(TaskNotFoundError):
            await two.client.cancel_task(CancelTaskRequest(id=task))
        with pytest.raises(TaskNotFoundError):
            await anext(two.client.subscribe(SubscribeToTaskRequest(id=task)))

    asyncio.run(talk())
    assert len(gateway.agent.observed()["cancelled"]) == len(before["cancelled"]) + 3
