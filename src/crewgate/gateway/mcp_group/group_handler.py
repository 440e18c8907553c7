"""Handles the requests that come to groups: finds out which endpoints the caller reaches.

A group has no rights, price or server of its own. Endpoints that the caller does not reach do not
exist for it.
"""

from functools import partial

import trio
from msgspec import structs

from crewgate.core import problem_types
from crewgate.core.mcp.rpc_errors import RefusedMessageError, RPCError
from crewgate.core.problem_types import ProblemType
from crewgate.core.reasons import Reason
from crewgate.core.verdict import Denial
from crewgate.errors import InvalidRequestError, MalformedMessageError
from crewgate.gateway.call.call_services import CallServices
from crewgate.gateway.call.refusals import Refusals
from crewgate.gateway.call.request_pricing import BodyReader
from crewgate.gateway.call.undecided_call import UndecidedCall, forwardable_headers
from crewgate.gateway.mcp_group.call_pipeline import CallPipeline
from crewgate.gateway.mcp_group.group import GroupMember, MCPGroup
from crewgate.gateway.mcp_group.group_router import BusyError, GroupRouter
from crewgate.gateway.mcp_group.reached_member import ReachedMember


class GroupHandler:
    """Handles the requests to groups that come through one listener."""

    def __init__(
        self, services: CallServices, refusals: Refusals, bodies: BodyReader, pipeline: CallPipeline
    ) -> None:
        self._services = services
        self._refusals = refusals
        self._bodies = bodies
        self._pipeline = pipeline

    async def serve(self, pending: UndecidedCall, group: MCPGroup) -> None:
        """Take a request from its head to its end."""
        exchange = pending.exchange
        exchange.body_bytes_max = group.body_bytes_max
        try:
            reached = await self._reached(pending, group)
        except BusyError as error:
            self._refuse(pending, error.kind)
            return
        if not reached:
            return
        at = reached[0].pending
        if exchange.upgrades:
            self._pipeline.refuse_after(at, Reason.UPGRADE)
            return
        if max(exchange.request.length or 0, exchange.bytes_in) > exchange.body_bytes_max:
            self._pipeline.refuse_after(at, Reason.BODY_TOO_LARGE)
            return
        refuse = partial(self._pipeline.refuse_after, at, Reason.BODY_TOO_LARGE)
        body = await self._bodies.read(exchange, reached[0].permit.grant.crew, refuse)
        if body is None:
            self._refuse(at, problem_types.BUSY)
            return
        router = GroupRouter(self._services, self._pipeline, group, reached)
        try:
            await router.serve(body)
        except MalformedMessageError as error:
            answer = router.form.error(RPCError(error.code, str(error)))
            self._pipeline.refuse_after(at, Reason.INVALID_REQUEST, answer)
        except RefusedMessageError as error:
            answer = router.form.error(error.error)
            self._pipeline.refuse_after(at, Reason.INVALID_REQUEST, answer)
        except BusyError as error:
            self._refuse(at, error.kind)

    def _refuse(self, at: UndecidedCall, kind: ProblemType) -> None:
        self._refusals.refuse_unrecorded(at.exchange, at.routes, at.described, kind, at.grant)

    async def _reached(self, pending: UndecidedCall, group: MCPGroup) -> list[ReachedMember]:
        """Return the endpoints that the caller reaches; none if the call has been refused.

        The gate may need credit first, also for what costs nothing: then wait until it is drawn.

        Raises:
            BusyError: The routes have been replaced meanwhile.
        """
        is_drawn = is_last = False
        deadline = trio.current_time() + self._services.wait_seconds
        while not pending.exchange.done:
            reached: list[ReachedMember] = []
            denied: list[tuple[UndecidedCall, Denial]] = []
            for member in group.members:
                at = _at(pending, member)
                verdict = self._pipeline.ask(at, drawn=is_drawn, price=0)
                if isinstance(verdict, Denial):
                    denied.append((at, verdict))
                else:
                    verdict.release()
                    at = structs.replace(at, grant=verdict.grant)
                    reached.append(ReachedMember(member, at, verdict))
            if reached:
                return reached
            waiting = next((each for each in denied if each[1].retry), None)
            if waiting is None or is_last:
                self._pipeline.forward_or_refuse(*(waiting or denied[0]))
                return []
            at, denial = waiting
            is_last = True
            with trio.move_on_at(deadline):
                is_last = not await self._services.authorizer.relieve(denial, at.tool, 0).wait()
            is_drawn = denial.grant is not None
            if self._pipeline.is_outdated(pending):
                raise BusyError
        return []


def _at(pending: UndecidedCall, member: GroupMember) -> UndecidedCall:
    """Return a request to a group as one to an endpoint of it."""
    route = member.route
    try:
        fields = forwardable_headers(pending.exchange.request, route, pending.token)
    except InvalidRequestError:
        return structs.replace(pending, entry=route, fields=None)
    return structs.replace(pending, entry=route, fields=fields)
