"""The verb `explain`: where a key belongs, what each of its owners holds, and how they differ."""

import os
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from msgspec import to_builtins

from zdynamo.cli.data import DEFAULT_BUCKET, DEFAULT_TIMEOUT_MS, KeyArgument
from zdynamo.cli.options import DEFAULT_NODE, BucketOption, JsonOption, NodeOption, TimeoutOption, connect
from zdynamo.cli.output import note, show_json, show_table
from zdynamo.figures.explanations import differs_from, explanation, hex_of, names_of

if TYPE_CHECKING:
    from zdynamo.messages import Dot, Explained, ReplicaState, SiblingState

ACTOR_SHOWN = 6  # hex digits of an actor for people; --json has all 16
TYPES = {"": "bytes", "text/plain": "text", "application/msgpack": "data"}


def explain(
    key: KeyArgument,
    node: NodeOption = DEFAULT_NODE,
    bucket: BucketOption = DEFAULT_BUCKET,
    timeout_ms: TimeoutOption = DEFAULT_TIMEOUT_MS,
    as_json: JsonOption = False,
) -> None:
    """Show where a key belongs, and what each owner holds.

    Each write has a dot, ACTOR.BIRTH.COUNTER. An owner whose clock has seen a dot, but that does not hold it, has seen
    it overwritten. A deleted value stays as a tombstone until every owner is known to hold it. In an lww bucket
    what the last write hides stays until the next write, or goes with the last one when that is deleted or expired.

    STATE: settled, or unsettled while the owner may lack records, such as after a lost disk, and copies them anew.

    ROUND: counts up as tombstones of the partition are removed; owners in sound health are at most one apart.

    RECORD: a fingerprint of all that the owner holds for the key. The same fingerprint: the same record.

    Example: zdynamo explain greeting
    """
    with connect(node, timeout_ms) as client:
        explained = client.explain(os.fsencode(key), bucket)
        names = names_of(client.topology())
    if as_json:
        show_json(to_builtins(explanation(os.fsencode(key), explained, names)))
    else:
        show(key, explained, names)


def show(key: str, explained: "Explained", names: dict[str, str]) -> None:
    """For people, who know nodes by their names."""
    rules = explained.bucket
    strict = "".join(f" {name}={number}" for name, number in (("pr", rules.pr), ("pw", rules.pw)) if number)
    expiry = f"values expire after {rules.expiry_ms} ms" if rules.expiry_ms else "values do not expire"
    print(f"key        {key}, in partition {explained.partition}")
    print(f"bucket     {rules.name}: r={rules.r} w={rules.w}{strict}, {expiry}, conflict {rules.conflict}")
    print(f"owners     {_listed(explained.owners, names)}")
    print(f"fallbacks  {_listed(explained.fallbacks, names)}\n", flush=True)
    if not explained.owners:
        note("no layout yet: it is decided with the first put")
        return
    dots = sorted({sibling.dot: sibling for replica in explained.replicas for sibling in replica.siblings}.items())
    numbers = {dot: number for number, (dot, _) in enumerate(dots, 1)}
    show_table(
        ("NODE", "STATE", "ROUND", "RECORD", "SIBLINGS", "DIFFERS FROM", "CLOCK"),
        [_replica_row(replica, explained, numbers, names) for replica in explained.replicas],
        right=("ROUND",),
    )
    if dots:
        print(flush=True)
        show_table(
            ("SIBLING", "DOT", "KIND", "TYPE", "SIZE", "WRITTEN", "EXPIRES"),
            [_sibling_row(numbers[dot], sibling) for dot, sibling in dots],
            right=("SIBLING", "SIZE"),
        )
    waiting = [replica for replica in explained.replicas if replica.waits]
    if waiting:
        print("\nwhat is dead waits to be removed", flush=True)
        show_table(("AT", "BECAUSE"), [(names.get(replica.node, replica.node), replica.waits) for replica in waiting])


def _replica_row(
    replica: "ReplicaState", explained: "Explained", numbers: dict["Dot", int], names: dict[str, str]
) -> Sequence[object]:
    name = names.get(replica.node, replica.node)
    if not replica.reachable:
        return (name, "unreachable", "-", "-", "-", "-", "-")
    held = ", ".join(str(numbers[sibling.dot]) for sibling in replica.siblings)
    differs = _listed(differs_from(replica, explained), names)
    record = hex_of(replica.digest)[:8] if replica.digest else "none"
    clock = " ".join(_dot(dot) for dot in (*replica.clock, *replica.cloud))
    state = "settled" if replica.settled else "unsettled" if replica.node in explained.owners else "fallback"
    if replica.hint:
        state += f", holds it for {_listed(replica.hint.split(','), names)}"
    return (name, state, replica.round, record, held or "-", differs, clock or "-")


def _sibling_row(number: int, sibling: "SiblingState") -> Sequence[object]:
    expires = _moment(sibling.expires_ms) if sibling.expires_ms else "-"
    kind = TYPES.get(sibling.content_type, sibling.content_type)
    written = _moment(sibling.time_ms)
    if sibling.tombstone:
        return (number, _dot(sibling.dot), "tombstone", "-", "-", written, expires)
    return (number, _dot(sibling.dot), _liveliness(sibling), kind, sibling.size, written, expires)


def _liveliness(sibling: "SiblingState") -> str:
    return "expired" if 0 < sibling.expires_ms <= time.time() * 1000 else "value"


def _listed(nodes: Sequence[str], names: dict[str, str]) -> str:
    return ", ".join(names.get(node, node) for node in nodes) or "-"


def _dot(dot: "Dot") -> str:
    """For people."""
    return f"{hex_of(dot[0])[:ACTOR_SHOWN]}.{dot[1]}.{dot[2]}"


def _moment(wall_ms: int) -> str:
    try:
        moment = datetime.fromtimestamp(wall_ms / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return f"{wall_ms} ms"
    return moment.strftime("%Y-%m-%d %H:%M:%S.") + f"{wall_ms % 1000:03} UTC"
