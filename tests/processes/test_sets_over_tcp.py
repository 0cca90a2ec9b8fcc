"""Sets that many clients add to by read-merge-write, on real nodes that are killed and restarted."""

from pathlib import Path

import sets


def test_every_acknowledged_element_is_there_after_nodes_were_killed_and_restarted(tmp_path: Path) -> None:
    verdict = sets.run(sets.Plan(clients=8, elements=5_000, sets=50, seed=7), tmp_path)

    assert verdict.missing == [] and verdict.unasked == []
    assert verdict.found == verdict.acknowledged
    assert verdict.acknowledged > 4_500
    assert verdict.kills > 1
