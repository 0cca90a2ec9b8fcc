"""After the load: whether the replicas come to hold the same, and what that is."""

import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

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


class Looks:
    """Looks at keys until all are equal."""

    def __init__(self, client: Client, pool: ThreadPoolExecutor) -> None:
        self._client = client
        self._pool = pool
        self._began = time.monotonic()
        self.differed_until_s = 0.0  # when a difference was seen last

    @property
    def spent_s(self) -> float:
        return time.monotonic() - self._began

    def until_equal(self, keys: Iterable[Key], until_s: float) -> list[Key]:
        """The keys that still differ when it is given up."""
        differ = list(keys)
        while True:
            answers = self._pool.map(self._equal, differ)
            differ = [key for key, equal in zip(differ, answers, strict=True) if not equal]
            if not differ or self.spent_s > until_s:
                return differ
            time.sleep(PAUSE_SECONDS)

    def until_none(self, held: Callable[[], int], until_s: float) -> int:
        """How many there still are when it is given up."""
        while (count := held()) and self.spent_s < until_s:
            time.sleep(PAUSE_SECONDS)
        return count

    def _equal(self, key: Key) -> bool:
        if not why_different(self._client, key):
            return True
        self.differed_until_s = self.spent_s
        return False


def converge(
    client: Client,
    keys: Sequence[Key],
    copies: int,
    recorder: Recorder,
    within_s: float,
    hints: Callable[[], int],
    alike_s: Callable[[], float | None],
    say: Callable[[str], None],
) -> None:
    """Look, read, look again; all is recorded. The time counts from now.

    `hints`: how many are held. `alike_s`: how long ago all hash trees were found to be alike; None: they are not.
    """
    began_ms = recorder.now_ms()
    with ThreadPoolExecutor(THREADS) as pool:
        looks = Looks(client, pool)
        say("waiting until no hints are held")
        held = looks.until_none(hints, within_s)
        hints_s = looks.spent_s
        say("waiting until the hash trees are alike")
        while not (alike := _since(alike_s(), looks)) and looks.spent_s < within_s:
            time.sleep(PAUSE_SECONDS)
        trees_s = looks.spent_s
        say("waiting until the replicas are equal")
        differ = looks.until_equal(keys, within_s)
        by_itself_s, until_s = looks.spent_s, looks.differed_until_s
        say(f"reading {len(keys):,} keys")
        for line in pool.map(lambda key: _read(client, key, copies), keys):
            recorder.add(line)
        left = looks.until_equal(differ, looks.spent_s + AFTER_READING_SECONDS) if differ else []
        after_s = looks.spent_s
        hints_left = looks.until_none(hints, looks.spent_s + AFTER_READING_SECONDS) if held else 0
    recorder.add(
        Converged(
            keys=len(keys),
            began_ms=began_ms,
            hints=held,
            hints_s=None if held else hints_s,
            trees_s=trees_s if alike else None,
            hints_left=hints_left,
            by_itself_s=None if differ else by_itself_s,
            differed_until_s=until_s,
            differed=len(differ),
            after_reading_s=after_s if differ and not left else None,
            left=len(left),
            examples=[f"{bucket}/{key}: {why_different(client, (bucket, key))}" for bucket, key in left[:EXAMPLES]],
        )
    )


def _since(alike_s: float | None, looks: Looks) -> bool:
    """Whether the trees have been alike since the looks began."""
    return alike_s is not None and alike_s <= looks.spent_s


def why_different(client: Client, key: Key) -> str:
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
