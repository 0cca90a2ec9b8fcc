"""The client core on many requests at once, on limits that the cluster tells, and on calls that nobody waits for."""

import pytest
from msgspec.structs import replace
from test_client_core import CLIENT, GET, PUT, A, B, C, asked, core_that_knows, id_of, question, sent, topology

from zdynamo.client import core as core_module
from zdynamo.client.core import ClientCore
from zdynamo.client.events import (
    Answered,
    Complete,
    Connect,
    Connected,
    DeadlinePassed,
    Disconnected,
    Send,
    Submitted,
    SubmittedMany,
    Tick,
    Withdrawn,
)
from zdynamo.messages import (
    Absent,
    ClientLimits,
    ConditionFailed,
    DescribeCluster,
    Done,
    Explain,
    ListKeys,
    OutcomeUnknown,
    Overloaded,
    Refused,
)

WINDOW = core_module.WINDOW


def gets(count: int) -> list:
    return [replace(GET, key=b"key-%d" % number) for number in range(count)]


def numbers(effects) -> list[int]:
    """Of the calls that are sent."""
    return [int.from_bytes(effect.message.request[8:], "big") for effect in effects if isinstance(effect, Send)]


def test_many_requests_go_out_at_once_each_to_an_owner_and_end_each_for_itself():
    core = core_that_knows(A, B, owners=(A,))

    effects = core.step(SubmittedMany(1, [GET, PUT, GET], 1_000), 0)
    ends = [core.step(Answered(A, Absent(id_of(call), b"")), 5) for call in (3, 1)]
    failed = core.step(Answered(A, Refused(id_of(2), "no")), 5)

    assert effects == [sent(A, call, request, left_ms=950) for call, request in enumerate([GET, PUT, GET], 1)]
    assert ends == [[Complete(3, Absent(id_of(3), b""))], [Complete(1, Absent(id_of(1), b""))]]
    assert failed == [Complete(2, Refused(id_of(2), "no"))]


def test_more_requests_than_the_window_holds_go_out_as_others_are_answered():
    core = core_that_knows(A)

    first = core.step(SubmittedMany(1, gets(WINDOW + 2), 1_000), 0)
    other = core.step(SubmittedMany(10_000, gets(1), 1_000), 0)
    after = [core.step(Answered(A, Absent(id_of(call), b"")), 1) for call in (5, 6, 7)]

    assert (numbers(first), other) == (list(range(1, WINDOW + 1)), [])
    assert [numbers(effects) for effects in after] == [[WINDOW + 1], [WINDOW + 2], [10_000]]


def test_single_calls_do_not_wait_for_many():
    core = core_that_knows(A)
    core.step(SubmittedMany(1, gets(WINDOW + 1), 1_000), 0)

    assert core.step(Submitted(10_000, GET, 1_000), 0) == [sent(A, 10_000, GET, left_ms=950)]


def test_many_values_go_out_as_the_bytes_in_flight_allow():
    core = core_that_knows(A)
    core._in_flight_bytes_max = 10
    large = replace(PUT, value=b"123456")

    first = core.step(SubmittedMany(1, [large, large], 1_000), 0)
    second = core.step(Answered(A, Done(id_of(1), b"")), 1)

    assert (numbers(first), numbers(second)) == ([1], [2])


def test_a_value_that_never_fits_is_refused_at_once_and_keeps_nothing_waiting():
    core = core_that_knows(A)
    core._in_flight_bytes_max = core._limits._in_flight_bytes_max = 10
    huge = replace(PUT, value=bytes(11))

    many = core.step(SubmittedMany(1, [PUT, huge, PUT], 1_000), 0)
    single = core.step(Submitted(4, huge, 1_000), 0)

    assert many[0] == sent(A, 1, PUT, left_ms=950)
    assert many[1] == Complete(2, Refused(id_of(2), "the value has 11 bytes: use at most 10"))
    assert many[2:] == [sent(A, 3, PUT, left_ms=950)]
    assert single == [Complete(4, Refused(id_of(4), "the value has 11 bytes: use at most 10"))]


def test_a_value_that_never_fits_is_refused_before_the_cluster_has_told_its_limits():
    core = ClientCore(["a:7400"], client=CLIENT, in_flight_bytes_max=2**24)

    effects = core.step(Submitted(1, replace(PUT, value=bytes(2**24 + 1)), 1_000), 0)

    assert effects == [Connect(A), Complete(1, Refused(id_of(1), "the value has 16777217 bytes: use at most 16777216"))]


def test_what_has_not_begun_when_the_time_is_over_ends_as_overloaded_because_nothing_was_done():
    core = core_that_knows(A)
    core.step(SubmittedMany(1, gets(WINDOW + 2), 1_000), 0)

    effects = core.step(Tick(), 1_000)

    ends = {effect.call: effect.outcome for effect in effects if isinstance(effect, Complete)}
    assert set(ends) == set(range(1, WINDOW + 3))
    assert [ends[call] for call in (WINDOW + 1, WINDOW + 2)] == [
        Overloaded(id_of(call), 50) for call in (WINDOW + 1, WINDOW + 2)
    ]
    assert core.in_flight == 0


def test_requests_that_waited_have_only_the_time_that_is_left():
    core = core_that_knows(A)
    core.step(SubmittedMany(1, gets(WINDOW + 1), 1_000), 0)

    [effect] = core.step(Answered(A, Absent(id_of(1), b"")), 200)[1:]

    assert effect.message.deadline_ms == 750


def test_a_withdrawn_call_has_no_end_and_leaves_nothing_behind():
    core = core_that_knows(A)
    core.step(Submitted(1, replace(PUT, value=b"v" * 100), 1_000), 0)
    core.step(SubmittedMany(2, gets(WINDOW + 5), 1_000), 0)

    effects = core.step(Withdrawn(2, WINDOW + 5), 1) + core.step(Withdrawn(1), 1)

    assert effects == []
    assert core.step(Answered(A, Done(id_of(1), b"")), 2) == []
    assert core.step(Tick(), 2_000) == []
    assert core.in_flight == core._bytes_in_flight == 0


def test_a_withdrawn_call_makes_room_for_those_that_wait():
    core = core_that_knows(A)
    core.step(SubmittedMany(1, gets(WINDOW), 1_000), 0)
    core.step(SubmittedMany(1_001, gets(3), 1_000), 0)

    assert numbers(core.step(Withdrawn(1, WINDOW), 1)) == [1_001, 1_002, 1_003]


def told(limits: ClientLimits | None, *addresses: str):
    return replace(topology(question(1), *addresses), limits=limits)


LARGE_KEY = replace(GET, key=b"k" * 5_000)


def test_keys_and_values_over_the_clusters_limits_are_refused_and_never_sent():
    core = core_that_knows(A)
    core.step(Answered(A, told(ClientLimits(key_bytes_max=3, value_bytes_max=10), A)), 0)

    for request, reason in [
        (GET, "the key has 4 bytes: use 1 to 3"),
        (Explain(bytes(16), "", 0, "default", b"cart"), "the key has 4 bytes: use 1 to 3"),
        (replace(PUT, key=b"k", value=b"12345678901"), "the value has 11 bytes: use at most 10"),
    ]:
        assert core.step(Submitted(1, request, 1_000), 0) == [Complete(1, Refused(id_of(1), reason))]
    assert numbers(core.step(Submitted(2, replace(PUT, key=b"k", value=b"1234567890"), 1_000), 0)) == [2]


def test_a_cluster_that_allows_more_gets_more():
    core = core_that_knows(A)
    core.step(Answered(A, told(ClientLimits(key_bytes_max=5_000, value_bytes_max=2**24), A)), 0)

    assert numbers(core.step(Submitted(1, LARGE_KEY, 1_000), 0)) == [1]
    assert numbers(core.step(Submitted(2, replace(PUT, value=bytes(2**24)), 1_000), 0)) == [2]


@pytest.mark.parametrize(
    ("limits", "end"),
    [
        (ClientLimits(5_000, 1), [sent(A, 1, LARGE_KEY, left_ms=840)]),
        (None, [Complete(1, Refused(id_of(1), "the key has 5000 bytes: use 1 to 4096"))]),
    ],
)
def test_what_is_larger_than_usual_waits_until_the_cluster_has_told_its_limits(limits, end):
    core = ClientCore(["a:7400"], client=CLIENT)

    begun = core.step(Submitted(1, LARGE_KEY, 1_000), 0)
    connected = core.step(Connected(A), 10)
    again = core.step(Connected(A), 20)
    ended = core.step(Answered(A, told(limits, A)), 110)

    assert begun == [Connect(A)]
    assert connected == [Send(A, DescribeCluster(question(1), ""))]
    assert numbers(again) == [2**63 + 2]
    assert ended == end


def test_a_call_that_waits_for_the_limits_asks_for_them_again_and_ends_at_its_deadline():
    core = ClientCore(["a:7400"], client=CLIENT)
    core.step(Submitted(1, LARGE_KEY, 2_500), 0)
    core.step(Connected(A), 10)

    asked_again = [core.step(Tick(), now_ms) for now_ms in (1_000, 2_000)]

    assert asked_again[1] == [Send(A, DescribeCluster(question(2), ""))]
    assert core.step(Tick(), 2_500) == [Complete(1, DeadlinePassed(2_500, 0, ""))]


def test_a_failed_condition_is_told_at_once():
    core = core_that_knows(A, B)
    core.step(Submitted(1, replace(PUT, condition="absent"), 1_000), 0)
    failed = ConditionFailed(id_of(1), b"there")

    assert core.step(Answered(A, failed), 10) == [Complete(1, failed)]


def test_a_failed_condition_does_not_hide_that_an_earlier_attempt_may_have_been_written():
    core = core_that_knows(A, B)
    core.step(Submitted(1, replace(PUT, condition="absent"), 1_000), 0)
    core.step(Disconnected(A), 10)

    effects = core.step(Answered(B, ConditionFailed(id_of(1), b"there")), 20)

    assert effects == [Complete(1, OutcomeUnknown(id_of(1), 1, 0))]


def test_a_condition_that_failed_at_every_attempt_is_told_as_failed():
    core = core_that_knows(A, B)
    core.step(Submitted(1, replace(PUT, condition="absent"), 5_000), 0)
    core.step(Tick(), 500)

    early = core.step(Answered(A, ConditionFailed(id_of(1), b"a")), 510)
    late = core.step(Answered(B, ConditionFailed(id_of(1), b"b")), 520)

    assert (early, late) == ([], [Complete(1, ConditionFailed(id_of(1), b"b"))])


def test_a_listing_goes_to_an_owner_of_its_partition_and_an_explanation_to_anyone():
    core = core_that_knows(A, B, C)
    by_partition = tuple((address[6:7] * 16,) for address in (A, B, C, A))
    core.step(Answered(A, replace(topology(question(1), A, B, C), owners=by_partition)), 0)
    page = ListKeys(bytes(16), "", 0, "default", 2)
    explain = Explain(bytes(16), "", 0, "default", b"cart")

    [listing] = core.step(Submitted(1, page, 1_000), 0)
    [explaining] = core.step(Submitted(2, explain, 1_000), 0)

    assert listing == Send(C, replace(page, request=id_of(1), cluster="one", deadline_ms=950))
    assert explaining.message == replace(explain, request=id_of(2), cluster="one", deadline_ms=950)


def test_when_a_node_is_lost_a_listing_goes_to_another_one():
    core = core_that_knows(A, B, owners=(A,))
    page = ListKeys(bytes(16), "", 0, "default", 0)
    core.step(Submitted(1, page, 1_000), 0)

    assert core.step(Disconnected(A), 10) == [
        asked(B, 2),
        Send(B, replace(page, request=id_of(1), cluster="one", deadline_ms=940)),
    ]
