"""The steps of an update against one copy of a key in which concurrent writes stay as siblings."""

from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zdynamo import DELETE, errors, merge_function
from zdynamo.client.events import DeadlinePassed
from zdynamo.client.updates import Pause, Reply, Update
from zdynamo.client.values import decode_value, encode_value, several
from zdynamo.messages import (
    Absent,
    ConditionFailed,
    Delete,
    Done,
    Found,
    Get,
    OutcomeUnknown,
    Put,
    QuorumNotMet,
    Refused,
    SiblingValue,
)

ID = bytes(16)
LEFT_MS = 1_000


class Register:
    """One key: a write replaces what its context has seen. A context is the numbers of the writes seen, as bytes."""

    def __init__(self, *values) -> None:
        self.writes = 0
        self.siblings: dict[int, tuple[str, bytes]] = {}
        self.seen: set[int] = set()
        self.requests: list = []
        for value in values:
            self._add(encode_value(value))

    def serve(self, request):
        self.requests.append(request)
        context = b"c" + bytes(sorted(self.seen))
        if isinstance(request, Get):
            found = tuple(SiblingValue(*stored, 0) for stored in self.siblings.values())
            return Found(ID, context, found) if found else Absent(ID, context)
        covered = set(request.context[1:])
        if getattr(request, "condition", "") and set(self.siblings) - covered:
            return ConditionFailed(ID, context)
        for number in covered:
            self.siblings.pop(number, None)
        if isinstance(request, Put):
            self._add((request.content_type, request.value))
        return Done(ID, b"c" + bytes(sorted(self.seen)))

    def values(self) -> list:
        return [decode_value(*stored) for stored in self.siblings.values()]

    def _add(self, stored) -> None:
        self.writes += 1
        self.siblings[self.writes] = stored
        self.seen.add(self.writes)


class Run:
    """An update under way: one step at a time."""

    def __init__(self, steps, serve) -> None:
        self._steps = steps
        self._serve = serve
        self._step = next(steps)
        self.done = False
        self.value = None
        self.pauses: list[float] = []

    def go(self, left_ms: int = LEFT_MS) -> None:
        outcome = None
        if isinstance(self._step, Pause):
            self.pauses.append(self._step.ms)
        else:
            outcome = self._serve(self._step)
        try:
            self._step = self._steps.send(Reply(outcome, left_ms))
        except StopIteration as ended:
            self.done, self.value = True, ended.value

    def finish(self):
        while not self.done:
            self.go()
        return self.value


def union(siblings):
    return sorted({item for sibling in siblings for item in sibling})


def adding(element):
    return lambda items: sorted({*(items or []), element})


def update(function, serve, *, resolver=union, **options) -> Run:
    steps = Update(
        "cart",
        function,
        bucket="default",
        resolver=resolver or several,
        merges=lambda: resolver is not None,
        chance=lambda: 0.5,
        **options,
    ).steps()
    return Run(steps, serve)


@pytest.mark.parametrize(("before", "after"), [([], ["tea"]), ([["milk"]], ["milk", "tea"])])
def test_the_function_gets_the_value_or_none_and_what_it_returns_is_stored(before, after):
    register = Register(*before)

    assert update(adding("tea"), register.serve).finish() == after
    assert register.values() == [after]


def test_siblings_are_merged_before_the_function_sees_them():
    register = Register(["milk"], ["bread"])

    assert update(adding("tea"), register.serve).finish() == ["bread", "milk", "tea"]
    assert register.values() == [["bread", "milk", "tea"]]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(0, 4), max_size=200))
def test_whatever_the_order_of_concurrent_updates_each_element_is_there_in_one_value(turns):
    register = Register()
    runs = [update(adding(f"e{number}"), register.serve) for number in range(5)]

    for turn in turns:
        if not runs[turn].done:
            runs[turn].go()
    values = [run.finish() for run in runs]

    assert register.values() == [[f"e{number}" for number in range(5)]]
    assert all(f"e{number}" in value for number, value in enumerate(values))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(0, 4), max_size=100))
def test_without_a_resolver_an_update_begins_again_when_another_wrote_so_that_a_counter_counts(turns):
    register = Register()
    runs = [update(lambda count: (count or 0) + 1, register.serve, resolver=None) for _ in range(5)]

    for turn in turns:
        if not runs[turn].done:
            runs[turn].go()
    for run in runs:
        run.finish()

    assert register.values() == [5]


def test_without_a_resolver_siblings_are_raised_and_nothing_is_written():
    register = Register(["milk"], ["bread"])

    with pytest.raises(errors.SiblingsFound, match="2 siblings"):
        update(adding("tea"), register.serve, resolver=None).finish()

    assert register.writes == 2


def test_without_a_resolver_a_write_that_stands_beside_another_says_that_it_is_written():
    register = Register(1)
    run = update(lambda count: count + 1, register.serve, resolver=None)
    run.go()
    run.go()
    register._add(encode_value(7))

    with pytest.raises(errors.SiblingsFound, match="the update is written, beside 1 others"):
        run.finish()


def test_the_function_may_delete_the_key():
    register = Register(["milk"])

    assert update(lambda _: DELETE, register.serve).finish() is None
    assert register.values() == []
    assert isinstance(register.requests[-1], Delete)


def test_a_function_that_forgets_to_return_is_told_and_nothing_is_written():
    register = Register(["milk"])

    with pytest.raises(TypeError, match="the function returned None"):
        update(lambda items: items.append("tea"), register.serve).finish()

    assert register.values() == [["milk"]]


def test_what_the_function_raises_is_raised():
    with pytest.raises(ZeroDivisionError):
        update(lambda _: 1 // 0, Register(1).serve).finish()


def failing(register, outcomes):
    """Writes get these outcomes first."""

    def serve(request):
        return outcomes.pop(0) if outcomes and isinstance(request, Put) else register.serve(request)

    return serve


def test_a_write_that_surely_was_not_kept_is_done_again_after_pauses_that_grow():
    register = Register(1)
    run = update(lambda count: count + 1, failing(register, [QuorumNotMet(ID, 2, 1)] * 3))

    assert run.finish() == 2
    assert run.pauses == [5.0, 10.0, 20.0]


def test_a_write_that_may_have_been_kept_is_not_done_again():
    register = Register(1)
    calls = []

    with pytest.raises(errors.OutcomeUnknown):
        update(lambda count: calls.append(1) or count + 1, failing(register, [OutcomeUnknown(ID, 2, 1)])).finish()

    assert len(calls) == 1


@pytest.mark.parametrize(
    ("outcome", "error"),
    [
        (QuorumNotMet(ID, 2, 1), errors.QuorumNotMet),
        (ConditionFailed(ID, b"c"), errors.DeadlineExceeded),
        (Refused(ID, "too large"), errors.Refused),
        (DeadlinePassed(1_000, 1, ""), errors.DeadlineExceeded),
    ],
)
def test_when_time_is_up_before_anything_is_written_the_last_error_is_raised(outcome, error):
    run = update(adding("tea"), failing(Register(), [outcome]))
    run.go()

    with pytest.raises(error):
        run.go(left_ms=0)


@pytest.mark.parametrize("outcome", [DeadlinePassed(1_000, 1, ""), OutcomeUnknown(ID, 2, 1), Refused(ID, "no")])
def test_once_its_write_is_acknowledged_an_update_succeeds_whatever_becomes_of_the_merging(outcome):
    register = Register(["milk"])
    run = update(adding("tea"), register.serve)
    run.go()
    run.go()
    register._add(encode_value(["bread"]))
    run._serve = failing(register, [outcome])

    assert run.finish() == ["bread", "milk", "tea"]


def test_an_acknowledged_update_does_not_merge_longer_than_its_deadline():
    register = Register(["milk"])
    run = update(adding("tea"), register.serve)
    run.go()
    run.go()
    register._add(encode_value(["bread"]))
    run.go()

    run.go(left_ms=0)

    assert (run.done, run.value) == (True, ["bread", "milk", "tea"])


def test_who_has_read_that_there_never_was_anything_writes_only_if_that_still_holds():
    register = Register()
    run = update(
        adding("tea"), lambda request: Absent(ID, b"") if isinstance(request, Get) else register.serve(request)
    )
    run.go()
    register._add(encode_value(["milk"]))

    run.go()

    assert register.values() == [["milk"]]


def test_an_update_may_say_how_many_replicas_it_wants_and_when_its_value_expires():
    register = Register(["milk"])
    run = update(adding("tea"), register.serve, r=3, w=2, ttl_ms=500)
    run.go()
    run.go()
    register._add(encode_value(["bread"]))

    run.finish()
    update(lambda _: DELETE, register.serve, r=3, w=2).finish()

    assert {request.r for request in register.requests if isinstance(request, Get | Delete)} == {3}
    assert {request.w for request in register.requests if isinstance(request, Put | Delete)} == {2}
    assert [request.ttl_ms for request in register.requests if isinstance(request, Put)] == [500, 500]


def test_options_that_are_wrong_are_told_before_anything_is_read():
    with pytest.raises(errors.Refused, match="ttl_ms is -1"):
        update(adding("tea"), Register().serve, ttl_ms=-1)
    with pytest.raises(errors.Refused, match="w is 256"):
        update(adding("tea"), Register().serve, w=256)


async def later(value):
    return value


class Later:
    async def __call__(self, value):
        return value


@pytest.mark.parametrize("function", [later, Later(), partial(later)])
def test_a_coroutine_function_is_refused_in_words(function):
    with pytest.raises(TypeError, match=r"the function .* is a coroutine function: nobody awaits it"):
        update(function, Register().serve)
    with pytest.raises(TypeError, match=r"the resolver .* is a coroutine function"):
        update(adding("tea"), Register().serve, resolver=function)
    with pytest.raises(TypeError, match=r"the merge function .* is a coroutine function"):
        merge_function(function)


def beside_another(resolver, other=("text/plain", b"bread")):
    """An update whose write is acknowledged, and another one beside it."""
    register = Register(["milk"])
    run = update(adding("tea"), register.serve, resolver=resolver)
    run.go()
    run.go()
    register._add(other)
    return run


def broken(_):
    raise RuntimeError("the resolver broke")


@pytest.mark.parametrize(
    ("resolver", "why"),
    [(broken, "RuntimeError: the resolver broke"), (lambda _: object(), "cannot store this object")],
)
def test_when_merging_fails_after_the_write_the_error_says_that_the_update_is_written(resolver, why):
    with pytest.raises(errors.MergeFunctionError, match=rf"the update is written, but merging failed: .*{why}"):
        beside_another(resolver).finish()


def test_when_what_is_beside_a_write_cannot_be_read_the_error_says_that_the_update_is_written():
    with pytest.raises(errors.Malformed, match="the update is written, but what is there now cannot be read"):
        beside_another(union, ("text/plain", b"\xff")).finish()


def test_a_resolver_that_breaks_before_the_write_is_told_as_it_is():
    register = Register(["milk"], ["bread"])

    with pytest.raises(RuntimeError, match="the resolver broke"):
        update(adding("tea"), register.serve, resolver=broken).finish()

    assert register.writes == 2
