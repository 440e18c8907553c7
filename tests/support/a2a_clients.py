"""The official client of A2A at a gateway, by each binding."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
import httpx
from a2a.client import A2ACardResolver, ClientConfig, ClientFactory
from a2a.client.client import Client
from a2a.helpers.proto_helpers import new_text_message
from a2a.types import (
    AgentCard,
    ListTasksRequest,
    Role,
    SendMessageConfiguration,
    SendMessageRequest,
    StreamResponse,
)
from a2a_gateway import A2AGateway

from crewgate.issuer import SubAgent

BINDINGS = ("JSONRPC", "HTTP+JSON", "GRPC")


class Caller:
    """The client of one branch."""

    def __init__(self, client: Client, card: AgentCard) -> None:
        self.client = client
        self.card = card

    async def first(self, text: str, *, waits: bool = True, **message: str) -> StreamResponse:
        """The first answer to a message; without `waits`, the task that it begins."""
        async for event in self.client.send_message(request(text, waits=waits, **message)):
            return event
        raise AssertionError("no answer")

    async def tasks(self, **which: str) -> set[str]:
        """The tasks that the branch sees."""
        listed = await self.client.list_tasks(ListTasksRequest(**which))
        assert listed.total_size == len(listed.tasks)
        return {task.id for task in listed.tasks}


def request(text: str, *, waits: bool = True, **message: str) -> SendMessageRequest:
    """A message with this text; `message` are further fields, such as its context."""
    return SendMessageRequest(
        message=new_text_message(text, role=Role.ROLE_USER, **message),
        configuration=SendMessageConfiguration(return_immediately=not waits),
    )


@asynccontextmanager
async def calling(
    gateway: A2AGateway, run: SubAgent, binding: str, *, streams: bool = False
) -> AsyncIterator[Caller]:
    """A client of a branch that has read the card, and uses one binding."""
    headers = {"authorization": f"Bearer {run.token()}"}
    context = gateway.trust()
    async with httpx.AsyncClient(verify=context, headers=headers, timeout=30) as http:
        card = await A2ACardResolver(http, gateway.url).get_agent_card()
        config = ClientConfig(
            httpx_client=http,
            supported_protocol_bindings=[binding],
            streaming=streams,
            grpc_channel_factory=lambda url: channel(gateway, run, url),
        )
        client = ClientFactory(config).create(card)
        try:
            yield Caller(client, card)
        finally:
            await client.close()


def channel(gateway: A2AGateway, run: SubAgent, url: str) -> grpc.aio.Channel:
    """A channel to the gateway, with the token of a branch."""
    tls = grpc.ssl_channel_credentials(gateway.ca.read_bytes())
    token = grpc.access_token_call_credentials(run.token())
    return grpc.aio.secure_channel(url, grpc.composite_channel_credentials(tls, token))
