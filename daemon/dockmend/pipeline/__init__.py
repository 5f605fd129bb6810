"""From a change to a closed incident: intake, lanes, treatment, verification, settlement.

    watch ─→ Intake.offer ─→ Incidents ─→ Lanes ─→ Treatment.run ─→ Steps ─→ Verification ─→ closed
"""
