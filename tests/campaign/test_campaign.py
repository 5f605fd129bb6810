"""A slice of the chaos campaign, and proof that its judge sees what it is there to see."""

from __future__ import annotations

import pytest

from tests.lab import sweep

from .run import campaign

SLICE_SECONDS = 35.0
"""After which no further round begins; starting and ending an engine and the last round come on top."""


@pytest.mark.campaign
def test_a_slice_of_the_campaign(campaign_seed: int, campaign_faults: int) -> None:
    sweep()
    tally = campaign(campaign_seed, campaign_faults, SLICE_SECONDS)
    print(tally.table())
    told = "\n".join(f"{finding.kind}: {finding.text}" for finding in tally.findings)
    assert not tally.findings, f"make campaign SEED={campaign_seed} FAULTS={tally.done}\n{told}"
    assert tally.done >= 4
