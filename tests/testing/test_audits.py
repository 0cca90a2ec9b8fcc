"""What only an observer of all nodes can check: each audit finds what is broken on purpose."""

from simulation.scenes import BUCKET, NAMES, cluster, delete, put
from support.records import merged, record, sibling

from zdynamo import codec
from zdynamo.core.records.record import Clock, Record, Sibling, encode_record
from zdynamo.core.replicas.replica import UNBORN
from zdynamo.messages import Bucket, ClientAnswer, DescribeNode
from zdynamo.partition import storage_key
from zdynamo.testing import audits
from zdynamo.testing.audits import Dots
from zdynamo.testing.disk import DISK_FAILED
from zdynamo.testing.simulator import Simulation

KEY = b"k"
STORED = storage_key(BUCKET.encode(), KEY, 16)
DOT = (1, 1, 1)


def planted(simulation: Simulation, name: str, encoded: bytes) -> None:
    """Write a record past the node."""
    store = simulation.disks[name].store
    store.put(STORED, UNBORN + encoded)
    store.commit()


def test_a_node_that_ends_by_itself_is_found_though_it_is_started_again_unless_its_disk_has_failed() -> None:
    simulation = cluster()
    for name, reason in (("a", DISK_FAILED), ("b", "a node with the same id is alive")):
        simulation.nodes[name]._fail(reason)
        simulation.start(name)

    assert found(audits.goes_on, simulation) == ["no-crash"]


def found(audit: audits.Audit, simulation: Simulation) -> list[str]:
    return [broken.promise for broken in audit(simulation)]


def test_a_dot_of_two_writes_is_found_and_one_of_two_copies_is_not() -> None:
    dots = Dots()

    dots.watch({STORED: UNBORN + record(b"one", actor=1)})
    dots.watch({STORED: b"12345678" + record(b"one", actor=1)})
    before = list(dots.broken)
    dots.watch({STORED: UNBORN + record(b"other", actor=1)})

    assert (before, [broken.promise for broken in dots.broken]) == ([], ["dots-are-unique"])


def test_owners_that_hold_different_bytes_are_found() -> None:
    simulation = cluster()
    put(simulation, "a", KEY, b"v", w=3)
    before = found(audits.convergence, simulation)

    planted(simulation, "b", record(b"other", actor=1))

    assert (before, found(audits.convergence, simulation)) == ([], ["convergence"])


def test_what_is_dead_is_removed_by_each_in_its_own_time() -> None:
    simulation = cluster()

    planted(simulation, "b", encode_record(Record(Clock((DOT,)), (Sibling(DOT, 0, 1, False, "", b"v", b"r" * 16),))))

    assert found(audits.convergence, simulation) == []
    assert found(audits.reaped, simulation) != []


def test_what_the_last_write_hides_is_dead_with_it_only_in_a_bucket_where_that_wins() -> None:
    hidden, deleted = sibling(1, actor=8), sibling(1, ahead_ms=1, tombstone=True)
    told = []

    for table in ((), (Bucket(BUCKET, conflict="lww"),)):
        simulation = cluster()
        simulation.buckets = table
        planted(simulation, "b", encode_record(merged(hidden, deleted)))
        told.append((found(audits.convergence, simulation), found(audits.reaped, simulation)))

    assert told == [(["convergence"], []), ([], ["reaping"])]


def test_a_copy_that_nobody_should_hold_is_found() -> None:
    simulation = cluster(names=("a", "b", "c", "d"))
    put(simulation, "a", KEY, b"v", w=3)
    owning = audits.owners_by_partition(simulation)[int.from_bytes(STORED[:2], "big")]
    (other,) = {"a", "b", "c", "d"} - set(owning)
    before = found(audits.hints_drained, simulation)

    planted(simulation, other, record(b"v", actor=1))

    assert (before, found(audits.hints_drained, simulation)) == ([], ["hints-drain"])


def test_a_tombstone_that_is_still_there_is_found() -> None:
    simulation = cluster()
    put(simulation, "a", KEY, b"v", w=3)
    before = found(audits.reaped, simulation)
    delete(simulation, "a", KEY)
    simulation.run(1_000)

    assert before == []
    assert set(found(audits.reaped, simulation)) == {"reaping"}


def test_nodes_that_do_not_see_each_other_have_no_view_in_common() -> None:
    simulation = cluster()
    before = found(audits.one_view, simulation)

    simulation.network.isolate("a", NAMES)
    simulation.run(5_000)

    assert before == []
    assert set(found(audits.one_view, simulation)) == {"one-view"}


def test_a_number_that_is_not_counted_down_is_found_at_rest_and_one_above_its_limit_at_any_time() -> None:
    simulation = cluster()
    put(simulation, "a", KEY, b"v", w=3)
    simulation.run(5_000)
    before = found(audits.at_rest, simulation) + found(audits.bounded, simulation)
    pending = simulation.nodes["a"].node._requests.pending

    pending.unanswered += 1
    at_rest = found(audits.at_rest, simulation)
    pending.unanswered += 1_000_000

    assert (before, at_rest, found(audits.bounded, simulation)) == ([], ["bounded"], ["bounded"])


def test_an_answer_to_what_was_answered_before_is_found() -> None:
    simulation = cluster()
    answers: list[ClientAnswer] = []
    simulation.request("a", DescribeNode(b"r" * 16, ""), answers.append)
    simulation.run(100)
    before = found(audits.answered_once, simulation)

    simulation.answered("a", (1).to_bytes(8, "big"), codec.encode(answers))

    assert (before, found(audits.answered_once, simulation)) == ([], ["one-answer"])


def test_a_lost_disk_that_is_not_filled_again_is_found() -> None:
    simulation = cluster()
    put(simulation, "a", KEY, b"v", w=3)
    before = found(audits.settled, simulation)
    simulation.kill("b")
    simulation.kill("c")
    simulation.lose_disk("c")
    simulation.run(5_000)
    simulation.start("c", "a")
    simulation.run(5_000)

    assert (before, found(audits.settled, simulation)) == ([], ["settling"])
