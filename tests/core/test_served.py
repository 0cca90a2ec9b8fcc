"""What a node counts of the requests of its clients."""

from bisect import bisect_left

from hypothesis import given
from hypothesis import strategies as st
from support.nodes import LoneNode, answers, get, put, request_id

from zdynamo.core.events import Effect
from zdynamo.core.served import BOUNDS_US, WAITING_MAX, Histogram, Served
from zdynamo.messages import (
    DescribeNode,
    Done,
    Found,
    NodeDescription,
    Overloaded,
    QuorumNotMet,
    RepairProgress,
    RequestsOf,
    SiblingValue,
    Spread,
)

VALUE = SiblingValue("", b"v", 0)
UNASKED = Spread(0, (0,) * (len(BOUNDS_US) + 1))


def told(served: Served, kind: str) -> RequestsOf:
    return next(requests for requests in served.requests() if requests.kind == kind)


def took(*each_us: int) -> Spread:
    counts = [0] * (len(BOUNDS_US) + 1)
    for us in each_us:
        counts[bisect_left(BOUNDS_US, us)] += 1
    return Spread(sum(each_us), tuple(counts))


def test_a_request_is_counted_by_its_kind_and_its_answer_with_the_time_between() -> None:
    served = Served()

    served.taken([put(1), get(2), put(3)], 1_000)
    served.answered([Done(request_id(1), b""), Found(request_id(2), b"", (VALUE,))], 1_700)
    served.answered([QuorumNotMet(request_id(3), 2, 1)], 6_001_000)

    assert told(served, "put") == RequestsOf("put", {"done": 1, "quorum_not_met": 1}, took(700, 6_000_000))
    assert told(served, "get") == RequestsOf("get", {"found": 1}, took(700))
    assert told(served, "delete") == RequestsOf("delete", {}, UNASKED)


def test_what_is_turned_away_at_once_is_counted_but_not_timed() -> None:
    served = Served()

    served.taken([put(1)], 0)
    served.answered([Overloaded(request_id(1), 50)], 10)

    assert told(served, "put") == RequestsOf("put", {"overloaded": 1}, UNASKED)


def test_the_answer_to_a_request_that_came_twice_counts_once() -> None:
    served = Served()
    served.taken([put(1)], 0)
    served.taken([put(1)], 100)

    served.answered([Done(request_id(1), b""), Done(request_id(1), b"")], 400)

    assert told(served, "put") == RequestsOf("put", {"done": 1}, took(300))


def test_an_answer_of_another_kind_under_the_id_of_a_request_counts_nothing_and_hurts_nobody() -> None:
    served = Served()
    served.taken([put(1)], 0)

    served.answered([RepairProgress(request_id(1), 1, True, 0, 0, 0, 0, 0, ())], 10)

    assert told(served, "put") == RequestsOf("put", {}, UNASKED)


def test_reads_that_show_siblings_are_counted() -> None:
    served = Served()
    served.taken([get(1), get(2)], 0)

    served.answered([Found(request_id(1), b"", (VALUE, VALUE)), Found(request_id(2), b"", (VALUE,))], 1)

    assert served.siblings == 1


def test_of_requests_that_are_never_answered_only_so_many_are_remembered() -> None:
    served = Served()

    served.taken([put(number) for number in range(WAITING_MAX + 1)], 0)
    served.answered([Done(request_id(number), b"") for number in range(WAITING_MAX + 1)], 1)

    assert told(served, "put").outcomes == {"done": WAITING_MAX}


@given(st.lists(st.integers(-1, 20_000_000)))
def test_each_time_is_in_one_bucket_that_has_room_for_it(each_us: list[int]) -> None:
    histogram = Histogram()

    for us in each_us:
        histogram.add(us)

    assert histogram.spread() == took(*each_us)
    for place, bound in enumerate(BOUNDS_US):
        assert sum(histogram.counts[: place + 1]) == sum(us <= bound for us in each_us)


def test_a_node_tells_what_its_driver_has_counted() -> None:
    node = LoneNode()
    node.node.served.taken([put(1)], 0)
    node.node.served.answered([Done(request_id(1), b"")], 900)
    node.node.turns.add(70)

    described = description(node.asked(DescribeNode(request_id(2), "")))

    assert described.figures is not None
    assert described.figures.requests[1] == RequestsOf("put", {"done": 1}, took(900))
    assert described.figures.turns == took(70)
    assert described.figures.bounds_us == BOUNDS_US
    assert (described.figures.r, described.figures.w) == (2, 2)


def description(effects: list[Effect]) -> NodeDescription:
    (answer,) = answers(effects)
    assert isinstance(answer, NodeDescription)
    return answer
