"""The promises that only an observer of all nodes and disks can check.

Each function returns what it finds broken; those of a cluster at rest are looked at again and again until nothing is,
or the time that it has for coming to rest is over.
"""

from collections.abc import Callable, Iterable, Iterator

from zdynamo.core.coordinator.forming import HELD_MAX
from zdynamo.core.coordinator.reads import HEALS_MAX, LINGERING_MAX
from zdynamo.core.coordinator.repairs import REPAIRS_MAX
from zdynamo.core.owners.ring import owners
from zdynamo.core.reaping.reaper import KEYS_IN_PROGRESS_MAX, PASSES_MAX
from zdynamo.core.reaping.tombstones import KEY as INDEX
from zdynamo.core.reaping.tombstones import is_dead
from zdynamo.core.records.buckets import Buckets
from zdynamo.core.records.dots import BIRTH_BYTES
from zdynamo.core.records.record import Sibling, decode_record, shown
from zdynamo.core.replicas.aside import KEY as ASIDE
from zdynamo.core.store import OWN_KEYS
from zdynamo.messages import Layout
from zdynamo.partition import partition_of_storage_key, split_storage_key, storage_key
from zdynamo.testing.disk import DISK_FAILED
from zdynamo.testing.history import Key
from zdynamo.testing.promises import Broken
from zdynamo.testing.simulator import START_WALL_MS, Simulation

RECORDS_END = b"\x80\x00"  # storage keys are below
LINGERING_AT_ONCE = 512  # frames of a batch, each of which may add one before the next looks
Audit = Callable[[Simulation], Iterator[Broken]]


class Dots:
    """Sees every commit of every disk: a dot never appears with two different writes."""

    def __init__(self) -> None:
        self.broken: list[Broken] = []
        self._known: dict[tuple[int, int, int], tuple[bytes, Sibling]] = {}
        self._seen: set[bytes] = set()  # records, as they are stored
        self._of: dict[bytes, set[tuple[int, int, int]]] = {}  # by request, the dots under which it was written

    def watch(self, staged: dict[bytes, bytes | None]) -> None:
        for key, stored in staged.items():
            if stored is None or key >= RECORDS_END:
                continue
            encoded = stored[BIRTH_BYTES:]
            if encoded in self._seen:
                continue
            self._seen.add(encoded)
            for sibling in decode_record(encoded).siblings:
                known = self._known.get(sibling.dot)
                if known is None:
                    self._known[sibling.dot] = (key, sibling)
                    self._of.setdefault(sibling.request, set()).add(sibling.dot)
                    continue
                if known != (key, sibling):
                    what = f"{sibling.dot} is of {known[1].value[:40]!r} and of {sibling.value[:40]!r}"
                    self.broken.append(Broken("dots-are-unique", what, place_of(key)))

    def has_twins(self, request: bytes) -> bool:
        """Whether it was written more than once: by several coordinators, or by one over what it met."""
        return len(self._of.get(request, ())) > 1


def one_view(simulation: Simulation) -> Iterator[Broken]:
    """All nodes know the same members, all alive, the same layout, and have the same table."""
    nodes, names = simulation.nodes, sorted(simulation.disks)
    for name in names:
        if name not in nodes:
            yield Broken("one-view", f"{name} does not run")
    views = {name: node.view for name, node in nodes.items()}
    first = views[min(views)] if views else None
    for name, view in sorted(views.items()):
        if view is None or first is None:
            yield Broken("one-view", f"{name} has no view")
            continue
        alive = sorted(member.record.name for member in view.members if member.state == "alive")
        if alive != names:
            yield Broken("one-view", f"{name} sees {', '.join(alive)} alive, of {', '.join(names)}")
        if (view.table_digest, view.layout) != (first.table_digest, first.layout):
            yield Broken("one-view", f"{name} and {min(views)} have different tables or layouts")


def settled(simulation: Simulation) -> Iterator[Broken]:
    """Who has lost something has got it back."""
    for name, node in sorted(simulation.nodes.items()):
        doubts = node.node._state.partitions.doubts
        if doubts:
            reasons = ", ".join(sorted({doubt.why for doubt in doubts.values()}))
            yield Broken("settling", f"{name} has {len(doubts)} partitions in doubt: {reasons}")
        if node.node._state.partitions.rounds_lost:
            yield Broken("settling", f"{name} may not stand in for others: nobody has told it the rounds")
    for name, disk in sorted(simulation.disks.items()):
        if any(True for _ in disk.store.scan(ASIDE, ASIDE + b"\xff\xff")):
            yield Broken("settling", f"{name} has something left of an old copy that was set aside")


def convergence(simulation: Simulation) -> Iterator[Broken]:
    """All owners of a partition hold the same bytes, but for what is dead: each removes that in its own time."""
    owning, has_ended = owners_by_partition(simulation), _ended(simulation)
    held = {
        name: {key: found for key, found in records(simulation, name) if not has_ended(key, found)}
        for name in simulation.disks
    }
    for key in sorted({key for each in held.values() for key in each}):
        names = owning[partition_of_storage_key(key)]
        copies = {held[name].get(key, b"") for name in names if name in held}
        if len(copies) > 1:
            has = ", ".join(name for name in names if key in held.get(name, ()))
            yield Broken("convergence", f"owners hold different records, {has} hold any", place_of(key))


def reaped(simulation: Simulation) -> Iterator[Broken]:
    """Nothing dead is left, nor an entry for it."""
    wall_ms, has_ended = _surely_past_ms(simulation), _ended(simulation)
    for name, disk in sorted(simulation.disks.items()):
        for key, encoded in records(simulation, name):
            if has_ended(key, encoded):
                yield Broken("reaping", f"{name} still holds what is dead", place_of(key))
        for entry, due in disk.store.scan(INDEX, INDEX + b"\xff\xff"):
            if int.from_bytes(due, "big") <= wall_ms:
                yield Broken("reaping", f"{name} has an entry of what is dead", place_of(entry[len(INDEX) :]))


def hints_drained(simulation: Simulation) -> Iterator[Broken]:
    """Nobody holds anything for somebody else, nor a copy that it does not own."""
    for name, node in sorted(simulation.nodes.items()):
        for target, held in sorted(node.node._state.hints.held.items()):
            yield Broken("hints-drain", f"{name} holds {held.count} records for {node.members.get(target, target)}")
    owning = owners_by_partition(simulation)
    for name in sorted(simulation.disks):
        for key, _ in records(simulation, name):
            if name not in owning[partition_of_storage_key(key)]:
                yield Broken("hints-drain", f"{name} holds a copy that it does not own", place_of(key))


def answered_once(simulation: Simulation) -> Iterator[Broken]:
    """No node answers an attempt of a client twice."""
    if simulation.spare_answers:
        yield Broken("one-answer", f"{simulation.spare_answers} answers came to what had been answered before")


def goes_on(simulation: Simulation) -> Iterator[Broken]:
    """No node ends by itself, but for a disk that has failed."""
    for at_ms, name, reason in simulation.ended:
        if reason != DISK_FAILED:
            yield Broken("no-crash", f"{name} has ended by itself at {at_ms} ms: {reason}")


def at_rest(simulation: Simulation) -> Iterator[Broken]:
    """Nothing is in progress any more, and all that was counted up has been counted down."""
    for name, node in sorted(simulation.nodes.items()):
        for what, (number, _) in in_progress(node.node).items():
            if number:
                yield Broken("bounded", f"{name} at rest has {number} {what}")


def bounded(simulation: Simulation) -> Iterator[Broken]:
    """Every number has its limit, at any time."""
    for name, node in sorted(simulation.nodes.items()):
        for what, (number, most) in in_progress(node.node).items():
            if not 0 <= number <= most:
                yield Broken("bounded", f"{name} has {number} {what}, its limit is {most}")


def in_progress(node: object) -> dict[str, tuple[int, int]]:
    """What a node is at, each with its limit."""
    requests, reaper = node._requests, node._reaper  # type: ignore[attr-defined]
    state = node._state  # type: ignore[attr-defined]
    limits, pending, reads = node._state.limits, requests.pending, requests._reads  # type: ignore[attr-defined]
    answered = LINGERING_MAX + LINGERING_AT_ONCE + REPAIRS_MAX + HEALS_MAX
    frame_bytes = limits.record_bytes_max + limits.value_bytes_max  # that one request may add before the limit is seen
    return {
        "requests without an answer": (pending.unanswered, limits.requests_max + LINGERING_AT_ONCE),
        "operations": (len(pending), 2 * limits.requests_max + answered),
        "bytes in flight": (pending.bytes_in_flight, limits.in_flight_bytes_max + frame_bytes),
        "bytes sent to one peer": (
            max(pending.bytes_to.values(), default=0),
            limits.peer_bytes_max + limits.in_flight_bytes_max,
        ),
        "bytes too few sent to one peer": (-min(0, *pending.bytes_to.values(), 0), 0),
        "reads that linger": (reads._lingering, LINGERING_MAX + LINGERING_AT_ONCE),
        "reads to heal": (reads._healing, HEALS_MAX),
        "requests that wait for a layout": (len(requests.forming._held), HELD_MAX),
        "passes": (len(reaper._passes), PASSES_MAX),
        "hints for one target": (
            max((held.count for held in state.hints.held.values()), default=0),
            limits.hint_count_max,
        ),
        "keys in passes": (reaper._keys, KEYS_IN_PROGRESS_MAX),
    }


def owners_by_partition(simulation: Simulation) -> tuple[tuple[str, ...], ...]:
    """The names, as the newest layout says."""
    views = [node.view for node in simulation.nodes.values() if node.view is not None and node.view.layout is not None]
    if not views:
        return ((),) * simulation.partitions
    view = max(views, key=lambda view: view.layout.number if view.layout else 0)
    names = {member.record.id: member.record.name for member in view.members}
    layout = view.layout
    assert isinstance(layout, Layout)
    return tuple(
        tuple(names.get(id, id) for id in owning) for owning in owners(layout, simulation.partitions, simulation.n)
    )


def records(simulation: Simulation, name: str) -> Iterator[tuple[bytes, bytes]]:
    """What a disk holds, as others would be given it: storage key and record."""
    for key, stored in simulation.disks[name].store.scan(b"", RECORDS_END):
        yield key, stored[BIRTH_BYTES:]


def final_values(simulation: Simulation, places: Iterable[Key]) -> dict[Key, dict[str, tuple[bytes, ...]]]:
    """What each owner would show of each of these keys, () if nothing: also of one that nobody holds any more."""
    owning = owners_by_partition(simulation)
    held = {name: dict(records(simulation, name)) for name in simulation.disks}
    wall_ms = START_WALL_MS + simulation.time_ms
    found: dict[Key, dict[str, tuple[bytes, ...]]] = {}
    for place in places:
        bucket, key = place
        stored = storage_key(bucket.encode(), key, simulation.partitions)
        found[place] = {
            name: _values(held[name].get(stored, b""), wall_ms) for name in owning[partition_of_storage_key(stored)]
        }
    return found


def place_of(storage_key: bytes) -> Key:
    _, bucket, key = split_storage_key(storage_key)
    return bucket.decode(), key


def _surely_past_ms(simulation: Simulation) -> int:
    """By the clock of every node that is as right as it has to be."""
    return START_WALL_MS + simulation.time_ms - 2 * simulation.limits.clock_skew_ms


def _ended(simulation: Simulation) -> Callable[[bytes, bytes], bool]:
    """Whether nothing is shown any more of a record under a storage key, by the rule of its bucket."""
    wall_ms, buckets = _surely_past_ms(simulation), Buckets(simulation.buckets, simulation.limits)
    return lambda key, encoded: is_dead(decode_record(encoded), wall_ms, lww=buckets.is_lww(key))


def _values(encoded: bytes, wall_ms: int) -> tuple[bytes, ...]:
    return tuple(sibling.value for sibling in shown(decode_record(encoded), wall_ms)) if encoded else ()


assert OWN_KEYS > RECORDS_END
