from __future__ import annotations

from collections.abc import Iterator

from dockmend.mirror import Mirror
from dockmend.model import Container
from dockmend.pipeline.dependent_counts import KEPT, DependentCounts


def test_what_hangs_on_a_container_directly_or_through_others_is_counted_now_and_then():
    web = Container("a" * 64, "web")
    sidecar = Container("b" * 64, "sidecar", network_mode=f"container:{web.id}")
    probe = Container("c" * 64, "probe", network_mode=f"container:{sidecar.id}")
    containers, now, asked = [web, sidecar, probe], 0.0, 0

    class Known(Mirror):
        def containers(self) -> Iterator[Container]:
            nonlocal asked
            asked += 1
            return iter(containers)

    dependents = DependentCounts(Known(), lambda: now)
    assert [dependents(each.id) for each in (web, sidecar, probe)] == [2, 1, 0]
    assert dependents("gone") == 0
    containers.pop()
    assert (dependents(web.id), asked) == (2, 1)
    now += KEPT
    assert (dependents(web.id), asked) == (1, 2)
