"""Giving a partition to a peer that pulls it, a page at a time."""

from zdynamo.core.owners.placement import Placement
from zdynamo.core.records.dots import BIRTH_BYTES
from zdynamo.core.state import State
from zdynamo.messages import Page, PullPage
from zdynamo.partition import PREFIX_BYTES, stretch

PAGE_BYTES_MAX = 2**20  # given at most, whatever is asked; one record may be larger
PAGE_RECORDS_MAX = 400  # whoever asked merges them in one step


def page_for(message: PullPage, placement: Placement, state: State) -> Page | None:
    """What this node has committed of a partition; None: it is no owner, or that was no sensible question.

    While an old copy is on its way out of sight there is nothing to be had: neither records nor an end.
    """
    partition, after = message.partition, message.after
    if placement.me not in placement.owners[partition]:
        return None
    if after and after[:PREFIX_BYTES] != partition.to_bytes(PREFIX_BYTES, "big"):
        return None
    settled, round = state.partitions.knows_scanned(partition), state.rounds.of(partition)
    if partition in state.aside.moving:
        return Page(message.request, partition, settled, round, (), last=False)
    size_max = min(message.bytes_max, PAGE_BYTES_MAX)
    records: list[tuple[bytes, bytes]] = []
    size = 0
    last = True
    for key, stored in state.store.scan(*stretch(partition, after)):
        size += len(key) + len(stored)
        if records and (size > size_max or len(records) >= PAGE_RECORDS_MAX):
            last = False
            break
        records.append((key, stored[BIRTH_BYTES:]))
    return Page(message.request, partition, settled, round, tuple(records), last)
