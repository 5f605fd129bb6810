"""From a change to a closed incident: intake, lanes, treatment, verification, settlement.

`Watch` reads the stream into the mirror and offers its changes to `Intake`, which opens
`Incidents`; each goes to the lane of its target, where `Treatment` looks, asks the limits, runs its
`Steps`, verifies, climbs the `Ladder` of its escalation, and closes it (`Ending`).
"""
