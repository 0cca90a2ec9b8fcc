"""Clusters of real threads and real pipes in one process: they find each other and serve data."""

from collections.abc import Iterator

import pytest

from threads.clusters import (
    Cluster,
    RawClient,
    delete,
    eventually,
    get,
    new_request,
    own_context,
    put,
    running,
    settings,
)
from zdynamo.messages import (
    Absent,
    DescribeCluster,
    Done,
    Found,
    OutcomeUnknown,
    Overloaded,
    QuorumNotMet,
    Refused,
)


def values_of(answer: object) -> list[bytes]:
    assert isinstance(answer, Found)
    return [sibling.value for sibling in answer.siblings]


@pytest.mark.parametrize("names", ["abc", "abcde"])
def test_nodes_that_know_only_the_one_before_find_each_other_and_all_serve_all_keys(names: str) -> None:
    with running(names) as cluster:
        clients = {name: cluster.client(name) for name in names}

        for name, client in clients.items():
            for number in range(20):
                assert isinstance(client.ask(put(b"%s-%d" % (name.encode(), number), name.encode())), Done)

        for client in clients.values():
            for name in names:
                for number in range(20):
                    key = b"%s-%d" % (name.encode(), number)
                    assert values_of(client.ask(get(key))) == [name.encode()]
        for client in clients.values():
            client.close()


def test_all_nodes_of_a_formed_cluster_have_one_table() -> None:
    with running("abcde") as cluster:
        tables = set()
        for name in cluster.servers:
            with cluster.client(name) as client:
                topology = client.topology()
                assert topology is not None
                tables.add((topology.table_digest, topology.layout, topology.owners))

        assert len(tables) == 1


def test_a_node_tells_how_long_requests_of_its_clients_and_turns_of_its_loop_took() -> None:
    with running("abc") as cluster, cluster.client("a") as a, cluster.client("b") as b:
        for number in range(20):
            a.ask(put(b"%d" % number))
        a.ask(get(b"0"))
        a.ask(get(b"none"))

        described, other = a.description(), b.description()

        figures, of_other = described.figures, other.figures
        assert figures is not None and of_other is not None
        served = {requests.kind: requests for requests in figures.requests}
        assert served["put"].outcomes == {"done": 20}
        assert served["get"].outcomes == {"found": 1, "absent": 1}
        assert sum(served["put"].took.counts) == 20
        assert 20 * 20 < served["put"].took.sum_us < 20 * 5_000_000
        assert [requests.outcomes for requests in of_other.requests] == [{}] * 4
        assert sum(figures.turns.counts) > 22
        assert figures.turns.sum_us < described.uptime_ms * 1000
        assert figures.digests == of_other.digests
        assert figures.store.keys >= 20
        assert described.counters["requests.taken"] >= 22


def test_what_one_node_deletes_is_absent_at_all() -> None:
    with running("abc") as cluster, cluster.client("a") as a, cluster.client("b") as b, cluster.client("c") as c:
        assert isinstance(a.ask(put(b"k")), Done)

        deleted = b.ask(delete(b"k"))
        again = c.ask(delete(b"k"))

        assert isinstance(deleted, Done)
        assert deleted.changed
        assert isinstance(again, Done)
        assert not again.changed
        assert [type(client.ask(get(b"k", r=3))) for client in (a, b, c)] == [Absent] * 3


def test_puts_without_a_context_through_different_nodes_in_a_row_leave_one_value() -> None:
    with running("abc") as cluster:
        clients = [cluster.client(name) for name in "abc"]

        for number in range(60):
            assert isinstance(clients[number % 3].ask(put(b"k", b"%d" % number)), Done)

        assert [values_of(client.ask(get(b"k"))) for client in clients] == [[b"59"]] * 3
        for client in clients:
            client.close()


def test_puts_with_a_context_read_before_a_concurrent_one_leave_both() -> None:
    with running("abc") as cluster, cluster.client("a") as client:
        client.ask(put(b"k", b"old"))
        found = client.ask(get(b"k"))
        assert isinstance(found, Found)

        client.ask(put(b"k", b"one", context=found.context))
        client.ask(put(b"k", b"two", context=found.context))

        both = client.ask(get(b"k"))
        assert sorted(values_of(both)) == [b"one", b"two"]
        assert isinstance(both, Found)
        client.ask(put(b"k", b"merged", context=both.context))
        assert values_of(client.ask(get(b"k"))) == [b"merged"]


def test_many_clients_that_pipeline_get_exactly_one_answer_to_each_request() -> None:
    with running("abc") as cluster:
        clients = [cluster.client("abc"[number % 3]) for number in range(12)]
        requests = [[put(b"%d-%d" % (who, number), b"x" * 100) for number in range(100)] for who in range(12)]

        for client, batch in zip(clients, requests, strict=True):
            for request in batch:
                client.send(request)
        answers = [client.answers_to(batch) for client, batch in zip(clients, requests, strict=True)]

        kinds = {type(answer) for each in answers for several in each.values() for answer in several}
        assert [len(each) for each in answers] == [100] * 12
        assert kinds == {Done}
        assert all(client.receive(0.05) == [] for client in clients)
        for client in clients:
            client.close()


def test_many_requests_in_one_frame_are_all_answered() -> None:
    with running("abc") as cluster, cluster.client("b") as client:
        puts = [put(b"%d" % number) for number in range(500)]
        client.send(*puts)
        done = client.answers_to(puts)
        gets = [get(b"%d" % number) for number in range(500)]
        client.send(*gets)
        found = client.answers_to(gets)

        assert {type(answer) for answers in done.values() for answer in answers} == {Done}
        assert {type(answer) for answers in found.values() for answer in answers} == {Found}
        assert (len(done), len(found)) == (500, 500)


def test_with_one_of_three_nodes_stopped_puts_and_gets_go_on() -> None:
    with running("abc") as cluster, cluster.client("a") as client:
        client.ask(put(b"before"))
        cluster.stop("c")

        at_once = [client.ask(put(b"%d" % number)) for number in range(50)]
        cluster.wait_until("down", of="c", seen_by="a")
        later = [client.ask(put(b"later-%d" % number)) for number in range(50)]
        found = [client.ask(get(b"%d" % number)) for number in range(50)]

        assert {type(answer) for answer in at_once + later} == {Done}
        assert {type(answer) for answer in found} == {Found}


def test_without_enough_nodes_the_quorum_is_not_met_and_the_answer_names_who_is_down() -> None:
    with running("abc") as cluster, cluster.client("a") as client:
        client.ask(put(b"k"))
        cluster.stop("b")
        cluster.stop("c")
        cluster.wait_until("down", of="b", seen_by="a")
        cluster.wait_until("down", of="c", seen_by="a")

        request = put(b"k")
        not_written = client.ask(request)
        not_read = client.ask(get(b"k"))

        assert isinstance(not_written, QuorumNotMet)
        assert (not_written.needed, not_written.got) == (2, 1)
        assert {"b", "c"} <= set(not_written.reason.removeprefix("down: ").split(", "))
        assert isinstance(not_read, QuorumNotMet)
        assert (not_read.needed, not_read.got) == (2, 1)


def test_a_write_that_reached_too_few_in_time_has_an_unknown_outcome() -> None:
    with running("abc") as cluster, cluster.client("a") as client:
        cluster.stop("b")
        cluster.stop("c")

        answers = [client.ask(put(b"%d" % number, deadline_ms=300)) for number in range(3)]

        assert {type(answer) for answer in answers} <= {OutcomeUnknown, QuorumNotMet}
        assert isinstance(answers[0], OutcomeUnknown)
        assert (answers[0].needed, answers[0].got) == (2, 1)


def test_over_its_limit_of_requests_a_node_says_overloaded_and_serves_again_afterwards() -> None:
    with running("abc", limits={"requests_max": 5}) as cluster, cluster.client("a") as client:
        requests = [put(b"%d" % number) for number in range(100)]
        client.send(*requests)
        answers = client.answers_to(requests)

        kinds = [type(answers[request.request][0]) for request in requests]
        assert len(answers) == 100
        assert set(kinds) == {Done, Overloaded}
        assert isinstance(client.ask(put(b"afterwards")), Done)


def test_over_its_limit_of_bytes_a_node_says_overloaded() -> None:
    with running("abc", limits={"in_flight_bytes_max": 10_000}) as cluster, cluster.client("a") as client:
        requests = [put(b"%d" % number, bytes(4_000)) for number in range(50)]
        client.send(*requests)
        answers = client.answers_to(requests)

        assert {type(several[0]) for several in answers.values()} == {Done, Overloaded}
        assert isinstance(client.ask(put(b"afterwards", bytes(4_000))), Done)


def test_large_answers_to_one_client_come_in_several_frames() -> None:
    with own_context() as context:
        cluster = Cluster(context, "a")
        with cluster.client("a") as client:
            eventually(client.topology)
            client.ask(put(b"large", bytes(300_000)))
            requests = [get(b"large") for _ in range(8)]

            client.send(*requests)
            frames = [client.receive() for _ in range(3)]
        cluster.stop_all()

    assert [len(answers) for answers in frames] == [3, 3, 2]
    assert [answer.request for answers in frames for answer in answers] == [asked.request for asked in requests]


@pytest.fixture(scope="module")
def small_values() -> Iterator[Cluster]:
    with running("abc", limits={"value_bytes_max": 1000}) as cluster:
        yield cluster


@pytest.mark.parametrize(
    "request_",
    [
        put(b""),
        put(b"k" * 5000),
        put(b"k", w=4),
        put(b"k", w=-1),
        put(b"k", deadline_ms=0),
        put(b"k", deadline_ms=-5),
        put(b"k", bytes(1001)),
        put(b"k", context=b"not a context"),
        put(b"k", attempt=0),
        get(b"k", r=4),
        get(b"", r=1),
        delete(b"k", r=-1),
    ],
)
def test_what_cannot_be_served_is_refused_by_every_node_and_nothing_is_stored(
    small_values: Cluster, request_: object
) -> None:
    for name in "abc":
        with small_values.client(name) as client:
            refused = client.ask(request_)
            assert isinstance(refused, Refused)
            assert not refused.retry
            assert isinstance(client.ask(get(b"k")), Absent)


def test_a_client_of_another_cluster_is_refused() -> None:
    with running("abc") as cluster, cluster.client("a") as client:
        refused = client.ask(DescribeCluster(new_request(), "another"))

        assert isinstance(refused, Refused)
        assert "of cluster" in refused.reason


def test_a_node_that_has_not_joined_refuses_and_says_so() -> None:
    with own_context() as context:
        cluster = Cluster(context, "")
        cluster.start("a", settings("inproc://a", "inproc://nobody-client"))
        with cluster.client("a") as client:
            refused = client.ask(put(b"k"))

        cluster.stop_all()
        assert isinstance(refused, Refused)
        assert refused.retry
        assert "has not joined a cluster" in refused.reason


def test_a_forming_cluster_refuses_data_until_its_members_are_there() -> None:
    with own_context() as context:
        cluster = Cluster(context, "a", min_members=2)
        with cluster.client("a") as client:
            eventually(client.topology)
            refused = client.ask(put(b"k"))
            cluster.start("b", settings("inproc://b", cluster.address("a"), min_members=2))
            cluster.wait_until_formed()
            done = client.ask(put(b"k"))

        cluster.stop_all()
        assert isinstance(refused, Refused)
        assert "1 of 2 members" in refused.reason
        assert isinstance(done, Done)


def test_a_node_alone_takes_data_at_its_first_put() -> None:
    with own_context() as context:
        cluster = Cluster(context, "a", min_members=1)
        with cluster.client("a") as client:
            eventually(client.topology)
            absent = client.ask(get(b"k"))
            done = client.ask(put(b"k", b"v"))
            found = client.ask(get(b"k"))

        cluster.stop_all()
        assert [type(answer) for answer in (absent, done, found)] == [Absent, Done, Found]


def test_a_node_started_anew_at_its_address_is_the_same_member_and_serves() -> None:
    with running("abc") as cluster, cluster.client("b") as b:
        b.ask(put(b"k", b"v"))
        before = b.topology()
        cluster.stop("a")
        cluster.wait_until("down", of="a", seen_by="b")

        cluster.start("a", settings("inproc://a", cluster.address("b"), min_members=3))
        cluster.wait_until_formed()

        after = b.topology()
        assert before is not None
        assert after is not None
        assert [member.record.id for member in after.members] == [member.record.id for member in before.members]
        with RawClient(cluster.context, cluster.address("a")) as a:
            assert values_of(a.ask(get(b"k"))) == [b"v"]
