"""The load of a chaos run: threads that put, get and delete, and check each answer against what they were told.

Each key has one writer. Deletes have keys of their own: put, then delete, then it must stay absent.
"""

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from chaos_ledger import UNSURE, Book, Ledger

from zdynamo.client import Client, Value
from zdynamo.errors import RequestError

BUCKET = "chaos"
HOT_KEYS = 4  # a worker writes again and again
VALUE_BYTES = 100
SHORT_LIVED = b"short-lived"
VERIFY_DEADLINE_MS = 5_000
READS_AGAIN = 20  # of a worker, all keys together, while the verdict is made
AGAIN_SECONDS = 0.5


class Worker(threading.Thread):
    """One writer: its keys, and a book for each."""

    def __init__(self, number: int, client: Client, ledger: Ledger, seed: int, pause_s: float) -> None:
        super().__init__(name=f"chaos-{number}", daemon=True)
        self.books: dict[str, Book] = {}
        self.deleted: dict[str, str] = {}  # key to what became of the delete: done, unsure, refused
        self._number = number
        self._client = client
        self._ledger = ledger
        self._random = random.Random(f"{seed}/{number}")
        self._pause_s = pause_s
        self._stopping = threading.Event()
        self._sequence = 0
        self._succeeded_at = 0.0
        self._patience = READS_AGAIN

    def run(self) -> None:
        self._succeeded_at = time.monotonic()
        steps = (self._put_new, self._put_hot, self._get, self._delete)
        while not self._stopping.is_set():
            self._random.choices(steps, (40, 25, 30, 5))[0]()
            self._stopping.wait(self._pause_s)

    def stop(self) -> None:
        self._stopping.set()

    def _put_new(self) -> None:
        self._put(f"new-{self._number}-{self._sequence}", None)

    def _put_hot(self) -> None:
        key = f"hot-{self._number}-{self._random.randrange(HOT_KEYS)}"
        book = self.books.get(key)
        with_context = book is not None and self._random.random() < 0.5
        self._put(key, book.context if book and with_context else None)

    def _put(self, key: str, context: bytes | None) -> None:
        self._sequence += 1
        value = f"{key}={self._sequence}".encode().ljust(VALUE_BYTES, b".")
        book = self.books.setdefault(key, Book())
        try:
            written = self._call(
                "put", key, value, lambda: self._client.put(key, value, bucket=BUCKET, context=context)
            )
        except UNSURE:
            book.unsure(value)
        except RequestError:
            book.refused(value)
        else:
            book.acknowledged(value, written)

    def _get(self) -> None:
        if not self.books:
            return
        recent = list(self.books)[-200:] if self._random.random() < 0.5 else list(self.books)
        key = self._random.choice(recent)
        try:
            found = self._call("get", key, b"", lambda: self._client.get(key, bucket=BUCKET))
        except RequestError:
            return
        for value in self.books[key].missing(values_of(found)):
            self._ledger.fail("stale", key, value)

    def _delete(self) -> None:
        key = f"gone-{self._number}-{self._sequence}"
        self._sequence += 1
        try:
            self._call("put", key, SHORT_LIVED, lambda: self._client.put(key, SHORT_LIVED, bucket=BUCKET))
        except RequestError:
            return  # it may appear later, and a delete now would not cover it
        try:
            self._call("delete", key, b"", lambda: self._client.delete(key, bucket=BUCKET))
        except UNSURE:
            self.deleted[key] = "unsure"
        except RequestError:
            self.deleted[key] = "refused"
        else:
            self.deleted[key] = "done"

    def _call(self, op: str, key: str, value: bytes, ask: Callable[[], object]) -> object:
        began = time.monotonic()
        error: RequestError | None = None
        try:
            return ask()
        except RequestError as raised:
            error = raised
            raise
        finally:
            quiet_s = time.monotonic() - self._succeeded_at
            if error is None:
                self._succeeded_at = time.monotonic()
            self._ledger.note(self._number, op, key, value, began, error, quiet_s)

    def verify(self, copies: int) -> int:
        """Read every key from all its replicas; returns how many acknowledged puts and deletes hold."""
        held = 0
        for key, book in self.books.items():
            held += self._verify_book(key, book, values_of(self._read(key, copies)))
        for key, outcome in self.deleted.items():
            found = values_of(self._read(key, copies))
            resurrected, lost = outcome == "done" and found, outcome == "refused" and not found
            if resurrected or lost:
                self._ledger.fail("resurrected" if resurrected else "lost", key, SHORT_LIVED)
            held += (not lost) + (outcome == "done" and not found)  # the put, and the delete
        return held

    def _verify_book(self, key: str, book: Book, found: set[bytes]) -> int:
        missing = book.missing(found)
        for value in missing:
            self._ledger.fail("lost", key, value)
        for value in book.phantoms(found):
            self._ledger.fail("phantom", key, value)
        return book.acknowledgements - len(missing)

    @property
    def keys(self) -> int:
        return len(self.books) + len(self.deleted)

    def _read(self, key: str, copies: int) -> Value | None:
        """None also for a key that cannot be read after all waiting: what cannot be read is lost."""
        while True:
            try:
                return self._client.get(key, bucket=BUCKET, r=copies, deadline_ms=VERIFY_DEADLINE_MS)
            except RequestError as error:
                if self._patience <= 0:
                    self._ledger.unreadable(key, error)
                    return None
                self._patience -= 1
                time.sleep(AGAIN_SECONDS)


@contextmanager
def working(workers: list[Worker]) -> Iterator[None]:
    for worker in workers:
        worker.start()
    try:
        yield
    finally:
        for worker in workers:
            worker.stop()
        for worker in workers:
            worker.join()


def values_of(found: Value | object | None) -> set[bytes]:
    return set(found.siblings) if isinstance(found, Value) else set()
