"""A slice of the chaos campaign, and proof that its judge sees what it is there to see."""

from __future__ import annotations

import math

import pytest

from tests.lab import sweep

from .run import campaign


@pytest.mark.campaign
@pytest.mark.timeout(900)
def test_a_slice_of_the_campaign(campaign_seed: int, campaign_faults: int) -> None:
    """However slow the machine is: the same faults each time."""
    sweep()
    tally = campaign(campaign_seed, campaign_faults, math.inf)
    print(tally.table())
    told = "\n".join(f"{finding.kind}: {finding.text}" for finding in tally.findings)
    assert not tally.findings, f"make campaign SEED={campaign_seed} FAULTS={tally.done}\n{told}"
    assert tally.done >= campaign_faults
