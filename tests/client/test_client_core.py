"""The client core alone: what happened goes in, what is to be done comes out, time is an argument."""

import pytest
from msgspec.structs import replace

from zdynamo.client.core import ClientCore
from zdynamo.client.events import (
    Answered,
    Complete,
    Connect,
    Connected,
    DeadlinePassed,
    Disconnect,
    Disconnected,
    NoNodeReached,
    Send,
    Submitted,
    Tick,
    Withdrawn,
)
from zdynamo.messages import (
    Absent,
    Addresses,
    ClientRequest,
    Constants,
    DescribeCluster,
    DescribeNode,
    Done,
    Get,
    ListKeys,
    MemberRecord,
    MemberView,
    NodeDescription,
    OutcomeUnknown,
    Overloaded,
    Put,
    QuorumNotMet,
    Refused,
    Topology,
)

CLIENT = b"client.."
A, B, C, D = (f"tcp://{name}:7400" for name in "abcd")
PUT = Put(bytes(16), "", 0, "default", b"cart", b"milk", "text/plain")
GET = Get(bytes(16), "", 0, "default", b"cart")
STATUS = DescribeNode(bytes(16), "")


def id_of(call: int) -> bytes:
    return CLIENT + call.to_bytes(8, "big")


def question(number: int) -> bytes:
    """The id of the core's own question of that number."""
    return id_of(2**63 + number)


def member(address: str, state: str = "alive") -> MemberView:
    name = address[6:7]
    record = MemberRecord(name * 16, 1, name, 1, "boot", 0, Addresses(address[6:], "", "", ""), "", 1)
    return MemberView(record, state, 0.0)


def topology(request: bytes, *addresses: str, owners: tuple[str, ...] = (), cluster: str = "one", **states: str):
    """Every partition belongs to `owners`, or to all."""
    members = tuple(member(address, states.get(address[6:7], "alive")) for address in addresses)
    owned_by = tuple(address[6:7] * 16 for address in owners or addresses)
    constants = Constants(4, 3, 1, 3, "a" * 16)
    return Topology(request, cluster, "a" * 16, constants, members, None, (owned_by,) * 4, 1, 1)


def core_that_knows(*addresses: str, owners: tuple[str, ...] = (), **states: str) -> ClientCore:
    """Connected to all of them, with one call of no interest done, at 0 ms."""
    core = ClientCore([addresses[0]], client=CLIENT)
    core.step(Submitted(0, GET, 1_000), 0)
    for address in addresses:
        core.step(Connected(address), 0)
    core.step(Answered(addresses[0], topology(question(1), *addresses, owners=owners, **states)), 0)
    core.step(Answered(addresses[0], Absent(id_of(0), b"")), 0)
    for address in addresses:
        core.step(Connected(address), 0)
    return core


def sent(address: str, call: int, request: ClientRequest, *, left_ms: int, attempt: int = 1) -> Send:
    message = replace(request, request=id_of(call), cluster="one", deadline_ms=left_ms)
    return Send(address, message if isinstance(message, Get) else replace(message, attempt=attempt))


def asked(address: str, number: int) -> Send:
    return Send(address, DescribeCluster(question(number), "one"))


def test_the_first_call_connects_to_every_node_given_and_goes_to_the_first_that_is_up():
    core = ClientCore(["a:7400", B], client=CLIENT)

    at_first = core.step(Submitted(1, PUT, 1_000), 100)
    connected = core.step(Connected(B), 120)

    assert at_first == [Connect(A), Connect(B)]
    assert connected == [
        Send(B, DescribeCluster(question(1), "")),
        Send(B, replace(PUT, request=id_of(1), deadline_ms=930)),
    ]


def test_a_topology_connects_to_all_members_that_are_not_down_and_gives_up_those_that_left():
    core = core_that_knows(A, B)

    effects = core.step(Answered(A, topology(question(2), A, C, D, d="down")), 10)

    assert effects == [Disconnect(B), Connect(C)]


def test_a_topology_of_another_cluster_is_not_believed():
    core = core_that_knows(A)

    effects = core.step(Answered(A, topology(question(2), B, cluster="other")), 10)

    assert effects == []
    assert core.topology == topology(question(1), A)


def test_a_put_and_a_get_go_to_an_owner():
    core = core_that_knows(A, B, C, owners=(B,))

    assert core.step(Submitted(1, PUT, 1_000), 0) == [sent(B, 1, PUT, left_ms=950)]
    assert core.step(Submitted(2, GET, 100), 0) == [sent(B, 2, GET, left_ms=90)]


def test_calls_spread_over_the_owners_by_what_is_outstanding():
    core = core_that_knows(A, B, C)

    effects = [core.step(Submitted(call, PUT, 1_000), 0) for call in (1, 2, 3, 4)]
    core.step(Answered(B, Done(id_of(2), b"")), 1)

    assert [effect.address for [effect] in effects] == [A, B, C, A]
    assert core.step(Submitted(5, PUT, 1_000), 1) == [sent(B, 5, PUT, left_ms=950)]


def test_conditional_puts_go_to_the_first_good_owner_so_that_those_of_all_clients_meet_at_one_node():
    core = core_that_knows(A, B, C, D, owners=(B, C, D), b="suspect")
    conditional = replace(PUT, condition="absent")

    effects = [core.step(Submitted(call, conditional, 1_000), 0) for call in (1, 2, 3)]
    lost = core.step(Disconnected(C), 0)

    assert [effect.address for [effect] in effects] == [C, C, C]
    assert [effect.address for effect in lost[1:]] == [D, D, D]


def test_an_owner_that_is_suspect_or_down_is_not_asked_while_another_is_alive():
    core = core_that_knows(A, B, C, a="suspect", b="down")

    effects = [core.step(Submitted(call, PUT, 1_000), 0) for call in (1, 2)]

    assert [effect.address for [effect] in effects] == [C, C]


def test_an_answer_completes_the_call_and_a_second_one_is_ignored():
    core = core_that_knows(A)
    core.step(Submitted(1, PUT, 1_000), 0)
    done = Done(id_of(1), b"context")

    assert core.step(Answered(A, done), 5) == [Complete(1, done)]
    assert core.step(Answered(A, done), 6) == []
    assert core.in_flight == 0


def test_when_a_node_is_lost_its_calls_go_to_another_at_once_with_the_same_id():
    core = core_that_knows(A, B, owners=(A,))
    core.step(Submitted(1, PUT, 1_000), 0)
    core.step(Submitted(2, GET, 1_000), 0)

    effects = core.step(Disconnected(A), 100)

    assert effects == [asked(B, 2), sent(B, 1, PUT, left_ms=850, attempt=2), sent(B, 2, GET, left_ms=850)]


def test_calls_wait_while_nobody_is_up_and_go_out_with_the_time_then_left():
    core = core_that_knows(A)
    core.step(Submitted(1, PUT, 1_000), 0)

    assert core.step(Disconnected(A), 100) == []
    assert core.step(Disconnected(A), 150) == []
    assert core.step(Connected(A), 400) == [sent(A, 1, PUT, left_ms=550, attempt=2)]


def test_a_lost_node_is_used_again_as_soon_as_it_is_connected():
    core = core_that_knows(A, B, owners=(A,))

    core.step(Disconnected(A), 10)
    away = core.step(Submitted(1, PUT, 1_000), 20)
    core.step(Connected(A), 30)
    back = core.step(Submitted(2, PUT, 1_000), 40)

    assert [away, back] == [[sent(B, 1, PUT, left_ms=950)], [sent(A, 2, PUT, left_ms=950)]]


def test_when_every_node_given_turns_the_connection_down_the_call_ends_after_a_second():
    core = ClientCore(["a:7400"], client=CLIENT)
    core.step(Submitted(1, PUT, 5_000), 0)
    core.step(Disconnected(A), 1)

    assert core.next_due_ms == 1_000
    assert core.step(Tick(), 1_000) == [Complete(1, NoNodeReached((A,)))]


def test_when_a_node_may_still_answer_the_connection_the_call_waits_until_its_deadline():
    core = ClientCore(["a:7400"], client=CLIENT)
    core.step(Submitted(1, PUT, 1_500), 0)

    assert core.step(Tick(), 1_000) == []
    assert core.next_due_ms == 1_500
    assert core.step(Tick(), 1_500) == [Complete(1, DeadlinePassed(1_500, 0, ""))]


def test_a_call_that_could_not_be_sent_in_time_is_unreachable_only_if_every_node_turned_the_connection_down():
    core = ClientCore(["a:7400", "b:7400"], client=CLIENT)
    core.step(Submitted(1, PUT, 500), 0)
    core.step(Disconnected(A), 1)
    connecting = core.step(Tick(), 500)
    core.step(Submitted(2, PUT, 500), 500)
    core.step(Disconnected(B), 501)

    assert connecting == [Complete(1, DeadlinePassed(500, 0, ""))]
    assert core.step(Tick(), 1_000) == [Complete(2, NoNodeReached((A, B)))]


def test_of_a_long_deadline_a_node_gets_what_it_takes_and_the_rest_stays_with_the_client():
    core = core_that_knows(A, B)
    page = ListKeys(bytes(16), "", 0, "default", 2)

    begun = [core.step(Submitted(call, request, 600_000), 0) for call, request in ((1, PUT), (2, page), (3, GET))]
    later = core.step(Disconnected(A), 590_000)

    assert [effect.message.deadline_ms for [effect] in begun] == [60_000] * 3
    assert later[1:] == [sent(B, 1, PUT, left_ms=9_950, attempt=2), sent(B, 3, GET, left_ms=9_950)]
    assert Complete(1, DeadlinePassed(600_000, 2, "")) in core.step(Tick(), 600_000)


def test_with_a_long_deadline_another_node_is_asked_as_soon_as_with_the_longest_one_of_a_node():
    core = core_that_knows(A, B)
    core.step(Submitted(1, PUT, 600_000), 0)

    assert core.next_due_ms == 6_000


def test_an_overloaded_node_is_left_alone_and_another_asked_after_the_time_it_named():
    core = core_that_knows(A, B)
    core.step(Submitted(1, PUT, 1_000), 0)

    assert core.step(Answered(A, Overloaded(id_of(1), 30)), 10) == []
    assert core.next_due_ms == 40
    assert core.step(Tick(), 40) == [sent(B, 1, PUT, left_ms=910)]  # nothing was done: still a first attempt


def test_overloaded_is_told_when_no_time_is_left_for_another_try():
    core = core_that_knows(A, B)
    core.step(Submitted(1, PUT, 100), 0)
    overloaded = Overloaded(id_of(1), 200)

    assert core.step(Answered(A, overloaded), 10) == [Complete(1, overloaded)]


def test_refused_for_now_is_tried_elsewhere_after_pauses_that_double():
    core = core_that_knows(A, B)
    refused = Refused(id_of(1), "forming", retry=True)
    core.step(Submitted(1, PUT, 10_000), 1_000)

    waits, places, now_ms, place = [], [], 1_000, A
    for _ in range(7):
        core.step(Answered(place, refused), now_ms)
        waits.append(core.next_due_ms - now_ms)
        now_ms = core.next_due_ms
        [effect] = core.step(Tick(), now_ms)
        place = effect.address
        places.append(place)

    assert waits == [10, 20, 40, 80, 160, 200, 200]
    assert places == [B, A, B, A, B, A, B]


def test_refused_for_now_until_the_deadline_ends_as_refused():
    core = core_that_knows(A)
    refused = Refused(id_of(1), "forming", retry=True)
    core.step(Submitted(1, PUT, 10), 0)

    assert core.step(Answered(A, refused), 1) == [Complete(1, refused)]


def test_refused_for_good_is_told_at_once():
    core = core_that_knows(A, B)
    core.step(Submitted(1, PUT, 1_000), 0)
    refused = Refused(id_of(1), "w is 9: use 1 to 3")

    assert core.step(Answered(A, refused), 10) == [Complete(1, refused)]


def test_a_node_that_says_nothing_is_asked_how_it_is_and_the_call_goes_to_another_as_well():
    core = core_that_knows(A, B)
    core.step(Submitted(1, PUT, 5_000), 0)

    assert core.next_due_ms == 500
    assert core.step(Tick(), 500) == [
        Send(A, DescribeNode(question(2), "one")),
        sent(B, 1, PUT, left_ms=4_450, attempt=2),
    ]


def test_the_first_answer_of_two_attempts_counts():
    core = core_that_knows(A, B)
    core.step(Submitted(1, PUT, 5_000), 0)
    core.step(Tick(), 500)

    assert core.step(Answered(A, Done(id_of(1), b"a")), 510) == [Complete(1, Done(id_of(1), b"a"))]
    assert core.step(Answered(B, Done(id_of(1), b"b")), 520) == []


def test_a_silent_node_is_avoided_until_it_says_anything():
    core = core_that_knows(A, B, owners=(A,))
    core.step(Submitted(1, PUT, 5_000), 0)
    core.step(Tick(), 500)

    avoided = core.step(Submitted(2, PUT, 5_000), 600)
    core.step(Answered(A, NodeDescription(question(2), "a", "a", "one", {}, (), "memory", "never", 1)), 700)
    trusted = core.step(Submitted(3, PUT, 5_000), 800)

    assert [avoided, trusted] == [[sent(B, 2, PUT, left_ms=4_950)], [sent(A, 3, PUT, left_ms=4_950)]]


def test_a_node_that_answers_others_may_take_longer_for_one_call():
    core = core_that_knows(A, B, owners=(A,))
    core.step(Submitted(1, PUT, 5_000), 0)

    effects = []
    for now_ms in range(100, 2_100, 100):
        core.step(Submitted(now_ms, GET, 5_000), now_ms)
        core.step(Answered(A, Absent(id_of(now_ms), b"")), now_ms)
        effects += [(now_ms, effect) for effect in core.step(Tick(), now_ms)]

    assert effects == [(2_000, sent(B, 1, PUT, left_ms=2_950, attempt=2))]


def test_without_another_node_a_silent_one_is_waited_for_until_the_deadline():
    core = core_that_knows(A)
    core.step(Submitted(1, PUT, 1_000), 0)

    effects = [core.step(Tick(), now_ms) for now_ms in (250, 500, 750, 1_000)]

    assert effects == [
        [Send(A, DescribeNode(question(2), "one"))],
        [],
        [],
        [Complete(1, DeadlinePassed(deadline_ms=1_000, attempts=1, last=""))],
    ]


def test_a_missed_quorum_is_tried_at_one_other_node_and_then_told():
    core = core_that_knows(A, B, C)
    core.step(Submitted(1, PUT, 1_000), 0)
    missed = QuorumNotMet(id_of(1), needed=3, got=2)

    assert core.step(Answered(A, missed), 10) == [
        sent(B, 1, PUT, left_ms=940)
    ]  # nothing was done: still a first attempt
    assert core.step(Answered(B, missed), 20) == [Complete(1, missed)]


def test_a_missed_quorum_is_told_at_once_when_no_other_node_is_alive():
    core = core_that_knows(A, B, b="down")
    core.step(Submitted(1, PUT, 1_000), 0)
    missed = QuorumNotMet(id_of(1), needed=2, got=1)

    assert core.step(Answered(A, missed), 10) == [Complete(1, missed)]


def test_an_unknown_outcome_is_tried_once_more_with_the_same_id_and_can_end_well():
    core = core_that_knows(A, B)
    core.step(Submitted(1, PUT, 1_000), 0)

    again = core.step(Answered(A, OutcomeUnknown(id_of(1), 2, 1)), 200)
    ended = core.step(Answered(B, Done(id_of(1), b"")), 210)

    assert again == [asked(B, 2), sent(B, 1, PUT, left_ms=750, attempt=2)]
    assert ended == [Complete(1, Done(id_of(1), b""))]


def test_an_unknown_outcome_stays_unknown_whatever_the_second_try_says():
    core = core_that_knows(A, B)
    core.step(Submitted(1, PUT, 1_000), 0)
    core.step(Answered(A, OutcomeUnknown(id_of(1), 2, 1)), 10)

    effects = core.step(Answered(B, QuorumNotMet(id_of(1), needed=2, got=0)), 20)

    assert effects == [Complete(1, OutcomeUnknown(id_of(1), 2, 0))]


def test_a_write_that_a_lost_node_may_have_kept_never_ends_as_nothing_was_done():
    core = core_that_knows(A, B)
    core.step(Submitted(1, PUT, 1_000), 0)
    core.step(Submitted(2, GET, 1_000), 0)
    core.step(Submitted(3, PUT, 1_000), 0)
    core.step(Disconnected(A), 10)

    ends = [
        core.step(Answered(B, Refused(id_of(1), "too large")), 20),
        core.step(Answered(B, Refused(id_of(2), "too large")), 20),
        core.step(Answered(B, QuorumNotMet(id_of(3), 2, 1)), 20),
    ]

    assert ends == [
        [Complete(1, DeadlinePassed(deadline_ms=1_000, attempts=2, last="too large"))],
        [Complete(2, Refused(id_of(2), "too large"))],
        [Complete(3, OutcomeUnknown(id_of(3), 2, 1))],
    ]


def test_the_no_of_an_earlier_attempt_does_not_end_a_call_that_waits_for_another_node():
    core = core_that_knows(A, B)
    core.step(Submitted(1, PUT, 5_000), 0)
    core.step(Tick(), 500)

    assert core.step(Answered(A, Refused(id_of(1), "overtaken")), 510) == []
    assert core.step(Answered(B, Done(id_of(1), b"")), 520) == [Complete(1, Done(id_of(1), b""))]


def test_the_topology_is_looked_at_every_five_seconds_while_calls_are_made():
    core = core_that_knows(A, B)

    looks = []
    for call, now_ms in enumerate(range(1_000, 13_000, 1_000), start=1):
        for effect in core.step(Submitted(call, GET, 1_000), now_ms):
            if isinstance(effect.message, DescribeCluster):
                looks.append((now_ms, effect.address))
                core.step(Answered(effect.address, topology(effect.message.request, A, B)), now_ms)
            else:
                core.step(Answered(effect.address, Absent(id_of(call), b"")), now_ms)

    assert looks == [(5_000, B), (10_000, A)]


def test_calls_and_bytes_in_flight_are_bounded():
    core = ClientCore(["a:7400"], client=CLIENT, in_flight_max=2, in_flight_bytes_max=10)
    core.step(Submitted(1, replace(PUT, value=b"123456"), 1_000), 0)

    too_large = core.step(Submitted(2, replace(PUT, value=b"12345"), 1_000), 0)
    core.step(Submitted(3, GET, 1_000), 0)
    too_many = core.step(Submitted(4, GET, 1_000), 0)

    assert too_large == [Complete(2, Overloaded(id_of(2), 50))]
    assert too_many == [Complete(4, Overloaded(id_of(4), 50))]


def test_a_question_for_one_node_goes_nowhere_else():
    core = core_that_knows(A, B)

    at_once = core.step(Submitted(1, STATUS, 1_000, only_at="b:7400"), 0)
    core.step(Submitted(2, STATUS, 1_000, only_at="d:7400"), 0)

    assert at_once == [Send(B, DescribeNode(id_of(1), "one"))]
    assert core.step(Disconnected(B), 10) == [asked(A, 2), Complete(1, NoNodeReached((B,)))]
    assert core.step(Disconnected(D), 20) == [Complete(2, NoNodeReached((D,)))]


@pytest.mark.parametrize(
    ("over", "end"), [(Tick(), [Complete(1, DeadlinePassed(300, 0, ""))]), (Withdrawn(1), [])], ids=["late", "given-up"]
)
def test_a_question_that_is_over_before_its_node_could_be_connected_waits_there_no_longer(over, end):
    core = core_that_knows(A)
    core.step(Submitted(1, STATUS, 300, only_at="d:7400"), 0)

    ended = core.step(over, 300)

    assert ended == end
    assert core.step(Disconnected(D), 1_000) == []
    assert core.step(Answered(A, topology(question(2), A)), 1_000) == [Disconnect(D)]


def test_what_a_stranger_says_is_ignored():
    core = core_that_knows(A)

    assert core.step(Answered(D, Done(id_of(9), b"")), 0) == []
    assert core.step(Connected(D), 0) == []
    assert core.step(Disconnected(D), 0) == []


def test_the_connection_to_a_stranger_stays_while_a_call_waits_to_ask_it_again():
    core = core_that_knows(A)
    core.step(Submitted(1, STATUS, 5_000, only_at="d:7400"), 2_000)
    core.step(Connected(D), 2_000)

    asking = core.step(Answered(D, Refused(id_of(1), "not yet", retry=True)), 2_010)
    learned = core.step(Answered(A, topology(question(2), A)), 2_020)
    again = core.step(Tick(), 3_000)
    core.step(Answered(D, Refused(id_of(1), "not like that")), 3_010)
    core.step(Tick(), 60_000)

    assert asking == [asked(A, 2)]
    assert learned == []
    assert [effect.address for effect in again if isinstance(effect.message, DescribeNode)] == [D]
    assert core.step(Answered(A, topology(question(3), A)), 60_010) == [Disconnect(D)]


def test_timers_of_answered_calls_do_not_pile_up():
    core = core_that_knows(A)

    for call in range(1, 10_000):
        core.step(Submitted(call, GET, 60_000), 0)
        core.step(Answered(A, Absent(id_of(call), b"")), 0)

    assert core.timers_held <= 1_100
    assert core.next_due_ms is None
