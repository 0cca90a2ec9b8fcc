"""The laws of merge functions, and the search for the smallest example that breaks one."""

import copy
import inspect
import random
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import hypothesis
from hypothesis import Phase
from hypothesis import strategies as st
from hypothesis.errors import Flaky, NoSuchExample

from zdynamo.cli.merge_values import Values, annotated, anything, kinds, like
from zdynamo.cli.output import one_line
from zdynamo.client.values import decode_value, encode_value
from zdynamo.errors import Malformed, MergeFunctionError
from zdynamo.merging import MergeFunction

SHOWN = 200  # characters of a value in words
PROBES = 20  # examples by which a function shows what it takes
NOT_TAKEN = (TypeError, AttributeError, LookupError)  # of a function that was given what it is not for
SEED = 7400  # the same function gets the same verdict

LAWS = {  # name -> what it says, and of how many values
    "well_behaved": ("answers with what can be stored, always the same, and leaves its arguments alone", 3),
    "commutative": ("merge(a, b) is merge(b, a)", 2),
    "associative": ("merge(merge(a, b), c) is merge(a, merge(b, c))", 3),
    "idempotent": ("merge(merge(a, b), b) is merge(a, b)", 2),
}


class Verdict(NamedTuple):
    """Of one law."""

    law: str
    holds: bool | None  # None: no example breaks it, but then the function is not even well behaved
    broken: str  # how, in words
    example: tuple[Any, ...]


class Report(NamedTuple):
    """What a check found."""

    values: list[str]  # the kinds that it was tried on
    verdicts: list[Verdict]
    normal_form: str  # in words, if merging a value with itself changes it; "" if not

    @property
    def holds(self) -> bool:
        return all(verdict.holds for verdict in self.verdicts)


class Unfit(Exception):
    """The function did what no merge function may; the message says what."""

    def __init__(self, words: str, cause: BaseException | None = None) -> None:
        super().__init__(words)
        self.taken = not isinstance(cause, NOT_TAKEN)


class Laws:
    """The laws of one function. Each gives the words for how these values break it, or ""."""

    def __init__(self, function: MergeFunction, name: str) -> None:
        self._function = function
        self._name = name

    def breaks(self, law: str, *values: Any) -> str:
        """ "" too if the function is not even well behaved: that has a law of its own."""
        try:
            return str(getattr(self, f"_{law}")(*values))
        except Unfit as unfit:
            return str(unfit) if law == "well_behaved" else ""

    def takes(self, one: Any, other: Any) -> bool:
        try:
            self._merge(one, other)
        except Unfit as unfit:
            return unfit.taken
        return True

    def changes(self, value: Any) -> str:
        """How merging a value with itself changes it."""
        try:
            merged = self._merge(value, value)
        except Unfit:
            return ""
        return "" if same(merged, value) else f"{self._call(value, value)} gives {shown(merged)}"

    def _well_behaved(self, a: Any, b: Any, c: Any) -> str:
        merged = self._merge(a, b, twice=True)
        self._merge(merged, c)
        self._merge(a, self._merge(b, c))
        return ""

    def _commutative(self, a: Any, b: Any) -> str:
        one, other = self._merge(a, b), self._merge(b, a)
        if same(one, other):
            return ""
        return f"{self._call(a, b)} gives {shown(one)}, but {self._call(b, a)} gives {shown(other)}"

    def _associative(self, a: Any, b: Any, c: Any) -> str:
        first, last = self._merge(a, b), self._merge(b, c)
        one, other = self._merge(first, c), self._merge(a, last)
        if same(one, other):
            return ""
        return (
            f"merging {shown(a)} and {shown(b)}, then {shown(c)} gives {shown(one)}, "
            f"but merging {shown(b)} and {shown(c)} first gives {shown(other)}"
        )

    def _idempotent(self, a: Any, b: Any) -> str:
        once = self._merge(a, b)
        again = self._merge(once, b)
        if same(once, again):
            return ""
        return f"{self._call(a, b)} gives {shown(once)}, but merging {shown(b)} in once more gives {shown(again)}"

    def _merge(self, one: Any, other: Any, *, twice: bool = False) -> Any:
        """What readers would get. Raises: Unfit."""
        call = self._call(one, other)
        given = copy.deepcopy([one, other])
        try:
            merged = self._function(*given)
        except (Exception, SystemExit) as error:
            raise Unfit(f"{call} raises {type(error).__name__}: {one_line(error)}", error) from None
        try:
            stored = decode_value(*encode_value(merged))
        except (TypeError, Malformed) as error:
            raise Unfit(f"{call} gives {shown(merged)}: {one_line(error)}") from None
        for before, after in zip((one, other), given, strict=True):
            if not same(before, after):
                raise Unfit(f"{call} changes its arguments: {shown(before)} is {shown(after)} afterwards")
        if twice and not same(stored, again := self._merge(one, other)):
            raise Unfit(f"{call} gives {shown(stored)}, and when it is called again {shown(again)}")
        return stored

    def _call(self, one: Any, other: Any) -> str:
        return f"{self._name}({shown(one)}, {shown(other)})"


def check(function: MergeFunction, name: str, samples: list[Any], examples: int) -> Report:
    """Try the laws on so many examples each.

    Raises: MergeFunctionError if it cannot be called as clients do, or is not for what they store.
    """
    _check_callable(function, name)
    laws = Laws(function, name)
    values = _values(function, laws, samples)
    each = -(-examples // len(values))
    verdicts: list[Verdict] = []
    for law in LAWS:
        found, broken = _breaking(laws, law, values, each)
        unsure = None if verdicts and not verdicts[0].holds else True
        verdicts.append(Verdict(law, False if broken else unsure, broken, found))
    report = Report(list(values), verdicts, "")
    return report._replace(normal_form=_normal_form(laws, values, each)) if report.holds else report


def same(one: Any, other: Any) -> bool:
    """Whether both are the same when they are stored: 1, 1.0 and True are not."""
    return bool(_form(one) == _form(other))


def shown(value: Any) -> str:
    text = one_line(repr(value))
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."


def _check_callable(function: MergeFunction, name: str) -> None:
    if any(inspect.iscoroutinefunction(called) for called in (function, getattr(function, "__call__", None))):  # noqa: B004
        raise MergeFunctionError(f"{name} is async, and clients do not await it: make it a plain function")
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # of some builtins nothing is known
        return
    try:
        signature.bind(None, None)
    except TypeError as error:
        raise MergeFunctionError(
            f"{name} is called with two values, as {name}(a, b), and that fails: {error}"
        ) from None


def _values(function: MergeFunction, laws: Laws, samples: list[Any]) -> dict[str, Values]:
    """By name, the kinds of values to try: like the samples, as annotated, or whatever it takes."""
    if samples:
        return {"like the samples": like(samples)}
    said = annotated(function)
    if said:
        return dict([said])
    if _is_taken(laws, anything):
        return {"anything": anything}
    taken = {name: strategy for name, strategy in kinds().items() if _is_taken(laws, strategy)}
    return taken or {"anything": anything}


def _is_taken(laws: Laws, strategy: Values) -> bool:
    pairs = st.tuples(strategy, strategy)
    return not _smallest(pairs, lambda pair: not laws.takes(*pair), PROBES, phases=(Phase.generate,))


def _breaking(laws: Laws, law: str, values: dict[str, Values], examples: int) -> tuple[tuple[Any, ...], str]:
    """The smallest example that breaks the law, and how."""
    arity = LAWS[law][1]
    for strategy in values.values():
        found = _smallest(st.tuples(*[strategy] * arity), lambda drawn: bool(laws.breaks(law, *drawn)), examples)
        if found:
            return found, laws.breaks(law, *found) or "it does not answer the same every time"
    return (), ""


def _normal_form(laws: Laws, values: dict[str, Values], examples: int) -> str:
    for strategy in values.values():
        found = _smallest(st.tuples(strategy), lambda drawn: bool(laws.changes(*drawn)), examples)
        if found:
            return laws.changes(*found)
    return ""


def _smallest(
    strategy: st.SearchStrategy[tuple[Any, ...]],
    condition: Callable[[tuple[Any, ...]], bool],
    examples: int,
    *,
    phases: Sequence[Phase] = (Phase.generate, Phase.shrink),
) -> tuple[Any, ...]:
    """The smallest example that meets the condition, or (); the last one if it meets it only now and then."""
    met: list[tuple[Any, ...]] = []

    def meets(drawn: tuple[Any, ...]) -> bool:
        if not condition(drawn):
            return False
        met.append(drawn)
        return True

    settings = hypothesis.settings(max_examples=examples, phases=phases, database=None, deadline=None)
    try:
        return hypothesis.find(strategy, meets, settings=settings, random=random.Random(SEED))
    except NoSuchExample:
        return ()
    except Flaky:
        return met[-1]


def _form(value: Any) -> Any:
    if isinstance(value, dict):
        return "dict", frozenset((_form(key), _form(item)) for key, item in value.items())
    if isinstance(value, list | tuple):
        return "list", tuple(_form(element) for element in value)
    return type(value).__name__, repr(value)
