"""After the load: whether the replicas come to hold the same, and what that is."""

import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from chaos_history import Converged, Final, Recorder, Unreadable
from chaos_load import shown

from zdynamo.client import Client
from zdynamo.errors import RequestError
from zdynamo.messages import Explained, ReplicaState

THREADS = 8
DEADLINE_MS = 5_000
PAUSE_SECONDS = 0.2  # between two looks at the keys that differ
READS_AGAIN = 20  # of one key
AGAIN_SECONDS = 0.5
AFTER_READING_SECONDS = 10.0  # that repair has once everything has been read
EXAMPLES = 10

Key = tuple[str, str]  # bucket and key
T = TypeVar("T")


def converge(
    client: Client, keys: Sequence[Key], copies: int, recorder: Recorder, within_s: float, say: Callable[[str], None]
) -> None:
    """Look, read, look again; all is recorded. The time counts from now."""
    began = time.monotonic()
    with ThreadPoolExecutor(THREADS) as pool:
        say("waiting until the replicas are equal")
        differ = _wait_equal(client, keys, pool, began + within_s)
        by_itself_s = time.monotonic() - began
        say(f"reading {len(keys):,} keys")
        for line in pool.map(lambda key: _read(client, key, copies), keys):
            recorder.add(line)
        left = _wait_equal(client, differ, pool, time.monotonic() + AFTER_READING_SECONDS) if differ else []
        after_s = time.monotonic() - began
    examples = [f"{bucket}/{key}: {_why(client, (bucket, key))}" for bucket, key in left[:EXAMPLES]]
    recorder.add(
        Converged(
            keys=len(keys),
            by_itself_s=None if differ else by_itself_s,
            differed=len(differ),
            after_reading_s=after_s if differ and not left else None,
            left=len(left),
            examples=examples,
        )
    )


def _wait_equal(client: Client, keys: Iterable[Key], pool: ThreadPoolExecutor, give_up: float) -> list[Key]:
    """The keys that still differ when it is given up."""
    differ = list(keys)
    while True:
        answers = pool.map(lambda key: _equal(client, key), differ)
        differ = [key for key, equal in zip(differ, answers, strict=True) if not equal]
        if not differ or time.monotonic() > give_up:
            return differ
        time.sleep(PAUSE_SECONDS)


def _equal(client: Client, key: Key) -> bool:
    return not _why(client, key)


def _why(client: Client, key: Key) -> str:
    """In what replicas differ, "" if in nothing that counts: what is dead goes from each in its own time."""
    try:
        explained = client.explain(key[1], key[0], deadline_ms=DEADLINE_MS)
    except RequestError as error:
        return str(error)
    hints = [replica.hint for replica in explained.replicas if replica.hint]
    if hints:
        return f"held for {', '.join(hints)}"
    owners = _owners(explained)
    silent = sum(not replica.reachable for replica in owners)
    if silent:
        return f"{silent} of {len(owners)} owners are not reachable"
    digests = {replica.digest for replica in owners}
    if len(digests) == 1 or all(sibling.tombstone for replica in owners for sibling in replica.siblings):
        return ""
    return f"{len(digests)} different records"


def _owners(explained: Explained) -> list[ReplicaState]:
    return [replica for replica in explained.replicas if replica.node in explained.owners]


def _read(client: Client, key: Key, copies: int) -> Final | Unreadable:
    """From all its owners."""
    for left in reversed(range(READS_AGAIN)):
        try:
            found = client.get(key[1], bucket=key[0], r=copies, deadline_ms=DEADLINE_MS)
            return Final(*key, shown(found))
        except RequestError as error:
            if not left:
                return Unreadable(*key, str(error))
            time.sleep(AGAIN_SECONDS)
    raise AssertionError("the last try answers or says why not")
