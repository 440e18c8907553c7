"""Gives each sub-agent that a framework starts a branch of its own.

A `BranchSpawner` spawns the branch of a sub-agent with its first call, gives its calls the token of
this branch, and revokes the branch when the sub-agent ends. The other modules connect a spawner
with one framework each: `langgraph`, `crewai`, `openai_agents` and `claude_agent`. Each needs the
extra of this name. A program that starts its sub-agents by itself writes
`with spawner.branch("researcher"):` around each.

If a branch cannot be spawned, the calls of the sub-agent fail: they never present the token of its
parent.
"""

from crewgate.runtime.install_hint import install_hint

try:
    from crewgate.integrations.branch_spawner import BranchSpawner, RoleAllowance
    from crewgate.integrations.sub_agent_branch import SubAgentBranch
except ModuleNotFoundError as error:
    hint = install_hint("crewgate.integrations", "issuer")
    raise ModuleNotFoundError(hint, name=error.name) from error

__all__ = ["BranchSpawner", "RoleAllowance", "SubAgentBranch"]
