"""Both clients against whole clusters: what users write in their programs."""

import asyncio
import threading
from collections.abc import Callable, Iterator

import pytest

from threads.clusters import eventually
from zdynamo import DELETE, Client, errors
from zdynamo.fixtures.cluster import InProcessCluster
from zdynamo.messages import Explained

BUCKETS = {
    "tags": {"conflict": "merge:zdynamo.merges:union"},
    "latest": {"conflict": "lww"},
    "brief": {"expiry_ms": 1},
}
LIMITS = {"key_bytes_max": 5_000, "value_bytes_max": 100_000}


@pytest.fixture(scope="module")
def cluster(zdynamo_cluster_factory: Callable[..., InProcessCluster]) -> Iterator[InProcessCluster]:
    with zdynamo_cluster_factory(buckets=BUCKETS, limits=LIMITS) as made:
        yield made


@pytest.fixture
def db(cluster: InProcessCluster) -> Iterator[Client]:
    with cluster.client("a") as client:
        yield client


def union(siblings: list[list[str]]) -> list[str]:
    return sorted({item for sibling in siblings for item in sibling})


def test_the_context_of_a_deleted_key_lets_it_be_written_again(db: Client) -> None:
    db.put("again", "old")
    db.delete("again")

    gone = db.get("again")
    db.put("again", "new", context=gone.context)

    assert not gone
    assert db.get("again").siblings == ["new"]


def test_concurrent_writes_stay_as_siblings_until_one_is_put_with_their_context(db: Client) -> None:
    seen = db.get("cart")
    db.put("cart", ["milk"], context=seen.context)
    db.put("cart", ["bread"], context=seen.context)

    found = db.get("cart", resolver=union)
    db.put("cart", found.value, context=found.context)

    assert len(found.siblings) == 2
    assert db.get("cart").value == ["bread", "milk"]


def test_the_bucket_merges_siblings(db: Client) -> None:
    seen = db.get("k", bucket="tags")
    db.put("k", ["b"], bucket="tags", context=seen.context)
    db.put("k", ["a"], bucket="tags", context=seen.context)

    assert db.get("k", bucket="tags").value == ["a", "b"]
    assert db.update("k", lambda tags: [*tags, "c"], bucket="tags") == ["a", "b", "c"]
    assert db.get("k", bucket="tags").siblings == [["a", "b", "c"]]


def test_in_an_lww_bucket_readers_see_one_value(db: Client) -> None:
    seen = db.get("k", bucket="latest")
    db.put("k", "first", bucket="latest", context=seen.context)
    db.put("k", "second", bucket="latest", context=seen.context)

    assert db.get("k", bucket="latest").siblings == ["second"]


def test_conditions_are_checked_against_what_the_replicas_hold(db: Client) -> None:
    written = db.put("lock", "mine", if_absent=True)
    with pytest.raises(errors.ConditionFailed) as failed:
        db.put("lock", "yours", if_absent=True)

    db.put("lock", "renewed", if_context=failed.value.context)
    with pytest.raises(errors.ConditionFailed):
        db.put("lock", "late", if_context=written)

    assert db.get("lock").value == "renewed"


def test_values_expire_as_the_put_or_the_bucket_says(db: Client) -> None:
    db.put("brief", 1, ttl_ms=1)
    db.put("k", 1, bucket="brief")
    db.put("kept", 1, bucket="brief", ttl_ms=0)

    eventually(lambda: not db.get("brief") and not db.get("k", bucket="brief"))
    assert db.get("kept", bucket="brief").value == 1


def test_threads_that_update_one_set_lose_nothing_and_leave_one_value(cluster: InProcessCluster) -> None:
    def add(number: int) -> None:
        with cluster.client("abc"[number % 3]) as client:
            for element in range(10):
                client.update("set", lambda items, new=f"{number}.{element}": [*(items or []), new], resolver=union)

    threads = [threading.Thread(target=add, args=[number]) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    with cluster.client("a") as client:
        found = client.get("set", r=3, resolver=union)
    assert sorted(found.value) == sorted(f"{number}.{element}" for number in range(4) for element in range(10))


def test_an_update_counts_and_may_delete(db: Client) -> None:
    for _ in range(3):
        db.update("hits", lambda hits: (hits or 0) + 1)

    assert db.get("hits").siblings == [3]
    assert db.update("hits", lambda _: DELETE) is None
    assert not db.get("hits")
    assert db.update("hits", lambda hits: hits or 1) == 1


def test_of_puts_at_the_same_moment_that_want_the_key_to_be_absent_those_that_win_are_all_there(
    cluster: InProcessCluster, db: Client
) -> None:
    with cluster.client("b") as other:
        for client in (db, other):
            client.topology()
        for number in range(10):
            puts = [client.submit_put(f"lock-{number}", 1, if_absent=True) for client in (db, other, db, other)]
            won = [put for put in puts if put.exception() is None]

            assert 1 <= len(won) == len(db.get(f"lock-{number}", r=3).siblings)  # mostly one: the owner orders them


def test_threads_that_count_up_without_a_resolver_count_each_update(cluster: InProcessCluster, db: Client) -> None:
    errors_met: list[Exception] = []

    def count(client: Client) -> None:
        for _ in range(15):
            try:
                client.update("counter", lambda count: (count or 0) + 1, deadline_ms=20_000)
            except errors.ZdynamoError as error:
                errors_met.append(error)

    with cluster.client("b") as other:
        db.put("first", 0)  # there are owners by now
        for client in (db, other):
            client.members()  # and both know which node gets all updates, and lets one of them win
        threads = [threading.Thread(target=count, args=[client]) for client in (db, db, other, other)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert db.get("counter", r=3).siblings == [60 - len(errors_met)], errors_met
    assert len(errors_met) < 15, errors_met


def test_an_update_writes_a_new_expiry_its_own_or_that_of_the_bucket(db: Client) -> None:
    db.put("fading", 1)
    db.put("kept-on", 1, bucket="brief", ttl_ms=0)

    db.update("fading", lambda count: count + 1, ttl_ms=1, r=3, w=3)
    db.update("kept-on", lambda count: count + 1, bucket="brief")

    eventually(lambda: not db.get("fading") and not db.get("kept-on", bucket="brief"))


def test_many_keys_have_an_answer_each(db: Client) -> None:
    names = [f"many-{number}" for number in range(1_000)]

    written = db.put_many({name: name for name in names})
    found = db.get_many([*names, "absent", "k" * 5_001])
    deleted = db.delete_many([*names[:10], "absent"])

    assert all(isinstance(context, bytes) for context in written.values())
    assert [value.value for value in list(found.values())[:1_000]] == names
    assert not found["absent"]
    assert isinstance(found["k" * 5_001], errors.Refused)
    assert list(deleted.values()) == [True] * 10 + [False]


def test_keys_are_listed_and_a_cursor_goes_on(db: Client) -> None:
    names = {b"listed-%d" % number for number in range(200)}
    db.put_many(dict.fromkeys(names, 1))
    db.put("listed-gone", 1)
    db.delete("listed-gone")

    keys = db.keys(prefix="listed-")
    first = [next(keys) for _ in range(50)]
    rest = list(db.keys(prefix="listed-", after=keys.cursor))

    assert sorted(first + rest) == sorted(names)


def test_limits_are_those_of_the_cluster(cluster: InProcessCluster) -> None:
    with cluster.client("b") as client:
        client.put("k" * 5_000, b"v")
        with pytest.raises(errors.Refused, match="the key has 5001 bytes: use 1 to 5000"):
            client.get("k" * 5_001)
        with pytest.raises(errors.Refused, match="the value has 100001 bytes: use at most 100000"):
            client.put("large", bytes(100_001))
        assert client.get("k" * 5_000).value == b"v"


def test_explain_tells_what_each_owner_holds(db: Client) -> None:
    db.put("explained", b"12345", w=3)

    explained = db.explain("explained")

    assert isinstance(explained, Explained)
    assert [replica.node for replica in explained.replicas] == list(explained.owners)
    assert [[sibling.size for sibling in replica.siblings] for replica in explained.replicas] == [[5]] * 3
    assert len({replica.digest for replica in explained.replicas}) == 1


def test_the_asyncio_client_does_the_same(cluster: InProcessCluster) -> None:
    async def main() -> None:
        async with cluster.async_client("a") as client:
            names = [f"async-{number}" for number in range(300)]
            await asyncio.gather(*(client.put(name, name) for name in names))
            found = await client.get_many(names)
            assert [value.value for value in found.values()] == names
            await asyncio.gather(
                *(
                    client.update("async-set", lambda items, new=name: [*(items or []), new], resolver=union)
                    for name in names[:20]
                )
            )
            assert sorted((await client.get("async-set", resolver=union)).value) == sorted(names[:20])
            assert len([key async for key in client.keys(prefix="async-")]) == 301
            await client.update("async-kept", lambda _: 1, bucket="brief", ttl_ms=0, r=3, w=3)
            assert (await client.get("async-kept", bucket="brief")).value == 1
            with pytest.raises(errors.ConditionFailed):
                await client.put(names[0], 1, if_absent=True)

    asyncio.run(main())
