"""What two owners compare first: the roots of all that both own, and the leaves of one partition (paper 4.7)."""

import sys
from array import array
from collections.abc import Iterable

from xxhash import xxh3_64_intdigest

from zdynamo.core.anti_entropy.trees import BUILDING, UNKNOWN
from zdynamo.core.owners.placement import Placement
from zdynamo.core.state import State
from zdynamo.messages import CompareHashes, Hashes, NodeId

ALL = -1  # in place of a partition


def shared(placement: Placement, peer: NodeId) -> tuple[int, ...]:
    """The partitions that this node and another own, in order."""
    me = placement.me
    return tuple(at for at, owners in enumerate(placement.owners) if me in owners and peer in owners)


def root_of(state: State, partition: int) -> int:
    """Of what this node is sure of; or UNKNOWN, or BUILDING."""
    return state.trees.root(partition) if state.partitions.is_settled(partition) else UNKNOWN


def roots_of(state: State, partitions: Iterable[int]) -> bytes:
    """8 bytes each, the least significant first."""
    return _swapped(array("Q", [root_of(state, partition) for partition in partitions])).tobytes()


def decode_roots(encoded: bytes) -> list[int]:
    if len(encoded) % 8:
        return []
    return _swapped(array("Q", encoded)).tolist()


def digest_of(roots: bytes) -> int:
    return xxh3_64_intdigest(roots)


def hashes_for(sender: NodeId, message: CompareHashes, placement: Placement, state: State) -> Hashes | None:
    """What another owner wants to know; None: it is none, or sees another layout."""
    partition = message.partition
    if message.layout not in placement.layouts:
        return None
    if partition == ALL:
        roots = roots_of(state, shared(placement, sender))
        same = digest_of(roots) == message.digest
        return Hashes(message.request, ALL, same, 0, b"" if same else roots)
    if not both_own(sender, partition, placement):
        return None
    root, round = root_of(state, partition), state.rounds.of(partition)
    known = root not in (UNKNOWN, BUILDING)
    same = known and root == message.digest
    leaves = state.trees.encoded(partition) if known and not same else b""
    return Hashes(message.request, partition, same, round, leaves)


def both_own(peer: NodeId, partition: int, placement: Placement) -> bool:
    """Whether this node and another own a partition."""
    if not 0 <= partition < len(placement.owners) or peer == placement.me:
        return False
    return peer in placement.owners[partition] and placement.me in placement.owners[partition]


def _swapped(hashes: "array[int]") -> "array[int]":
    """In the byte order of messages, or back."""
    if sys.byteorder == "big":
        hashes.byteswap()
    return hashes
