"""The processes of orchestrators: which ones run, and how each one is decommissioned.

`orchestrator_runs` stores them. `orchestrator_decommission` works in steps: the intent is on the
disk before the first step, so after a crash another process takes the remaining steps.
"""
