"""The rules of the minting watch.

A `MintingProfile` counts what one orchestrator mints. The `AdmissionController` compares each
minute with the orchestrator's baseline and with fixed ceilings. `enforcement` moves an orchestrator
between three levels: observe, throttle and quarantine. No I/O and no clock.
"""
