"""The rules of the minting watch.

A `MintingProfile` counts what one orchestrator mints. The `AnomalyDetector` compares each minute
with the orchestrator's baseline and with fixed ceilings. Enforcement moves in steps: observe,
throttle, quarantine.
"""
