"""What a chaos run does: a plan, from a TOML file; one line when something in it is wrong."""

import tomllib
import typing
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec
from chaos_disk_faults import DISK_FAULTS
from chaos_faults import PROCESS_FAULTS, Fault
from chaos_link_faults import LINK_FAULTS
from msgspec import Meta, Struct, field

from zdynamo.errors import ZdynamoError

FOLDER = Path(__file__).parent.parent / "configs" / "chaos"
KINDS: dict[str, type[Fault]] = PROCESS_FAULTS | LINK_FAULTS | DISK_FAULTS
UNKNOWN = "Object contains unknown field `"  # as msgspec says it

Positive = Annotated[float, Meta(gt=0, le=1e6)]
Share = Annotated[float, Meta(ge=0, le=1)]
Seconds = Annotated[float, Meta(ge=0, le=86_400)]
Span = tuple[Seconds, Seconds]  # drawn evenly between the two
Plain = bool | int | float | str
Setting = Plain | list[Plain] | dict[str, Plain | list[Plain]]
T = TypeVar("T")


class PlanError(ZdynamoError):
    """A plan is wrong; the message names the key and what to do."""


class Mix(Struct, forbid_unknown_fields=True):
    """What a worker does, by weight."""

    new: Annotated[float, Meta(ge=0)] = 30  # put a new key
    register: Annotated[float, Meta(ge=0)] = 20  # put over what was seen last of a shared key
    blind: Annotated[float, Meta(ge=0)] = 10  # put a shared key without a context
    set: Annotated[float, Meta(ge=0)] = 5  # get a shared set, add an element, put it back
    get: Annotated[float, Meta(ge=0)] = 30
    delete: Annotated[float, Meta(ge=0)] = 5  # of shared keys and own ones, with and without a context


class Load(Struct, forbid_unknown_fields=True):
    """The load, from the beginning of a run to its end."""

    workers: Annotated[int, Meta(ge=1, le=200)] = 8  # threads
    clients: Annotated[int, Meta(ge=1, le=50)] = 2  # that they share; each has connections and a place of its own
    rate: Positive = 800  # operations a second wanted of all workers together
    deadline_ms: Annotated[int, Meta(ge=1, le=60_000)] = 5_000
    strict: Share = 0.5  # of the workers: with pr=2 and pw=2, in a bucket of its own
    keys: Annotated[int, Meta(ge=1)] = 200  # that all workers of a bucket write
    sets: Annotated[int, Meta(ge=1)] = 20
    value_bytes: Annotated[int, Meta(ge=64, le=2**20)] = 100
    preload: Annotated[int, Meta(ge=0)] = 0  # keys put before the first fault
    mix: Mix = field(default_factory=Mix)


class Plan(Struct, forbid_unknown_fields=True, kw_only=True):
    """One run: steps of calm, faults, and return."""

    about: str = ""
    nodes: Annotated[int, Meta(ge=1, le=26)] = 3
    memory: bool = False
    steps: Annotated[int, Meta(ge=0)] = 10  # the most
    seconds: Seconds = 0  # no step begins after so many; 0: all steps
    at_once: Annotated[int, Meta(ge=1)] = 1  # faults of a step
    calm_s: Span = (1.0, 2.0)  # before each step
    fault_s: Span = (2.0, 4.0)  # that faults last; where a victim is to be noticed, from when it is
    detect_s: Seconds = 15.0  # that the others have to call a victim down; 0: nobody waits for it
    quiet_s: Seconds = 0.5  # between the end of the load and the verdict
    converge_s: Seconds = 10.0  # after it, that replicas have to become equal without being read
    must_converge_s: Seconds = 0.0  # beyond so many seconds convergence is broken; 0: it may take reading all keys
    must_p999_ms: Seconds = 0.0  # of the second around each fault; beyond, or if a request fails, service is broken
    load: Load = field(default_factory=Load)
    node: dict[str, dict[str, Setting]] = {}  # settings of all nodes, as in zdynamo.toml
    faults: dict[str, dict[str, Any]] = {}  # kind to its settings

    def kinds(self) -> list[Fault]:
        """Raises: PlanError."""
        return [_converted(table, _kind(name), f"faults.{name}") for name, table in self.faults.items()]


def load(path: Path) -> Plan:
    """Raises: PlanError, one line."""
    try:
        plan = _converted(tomllib.loads(path.read_text(encoding="utf-8")), Plan, "")
        check(plan)
    except OSError as error:
        raise PlanError(f"{path} cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise PlanError(f"{path} is not valid TOML: {error}") from None
    except PlanError as error:
        raise PlanError(f"{path}: {error}") from None
    return plan


def find(name: str) -> Path:
    """A file, or the name of one of the plans that come with the tool. Raises: PlanError."""
    for path in (Path(name), FOLDER / f"{name}.toml"):
        if path.is_file():
            return path
    known = ", ".join(path.stem for path in plans())
    raise PlanError(f"{name} is neither a file nor one of the plans: {known}")


def plans() -> list[Path]:
    return sorted(FOLDER.glob("*.toml"))


def check(plan: Plan) -> None:
    """What holds between settings. Raises: PlanError."""
    kinds = plan.kinds()
    if plan.steps and not kinds:
        raise PlanError(f"there are no faults: add a table such as [faults.kill]; known: {', '.join(sorted(KINDS))}")
    for name in ("calm_s", "fault_s"):
        least, most = getattr(plan, name)
        if least > most:
            raise PlanError(f"{name} is [{least:g}, {most:g}]: write the lower one first")
    if not any(msgspec.structs.astuple(plan.load.mix)):
        raise PlanError("load.mix has nothing to do: give one of its weights a number above 0")
    for fault, name in zip(kinds, plan.faults, strict=True):
        if plan.nodes < fault.nodes_min:
            raise PlanError(f"faults.{name} needs {fault.nodes_min} nodes, and nodes is {plan.nodes}")


def checked(plan: Plan) -> Plan:
    """A plan whose settings were changed. Raises: PlanError."""
    plan = _converted(msgspec.to_builtins(plan), Plan, "")
    check(plan)
    return plan


def _kind(name: str) -> type[Fault]:
    if name not in KINDS:
        raise PlanError(f"faults.{name} is not known; there are: {', '.join(sorted(KINDS))}")
    return KINDS[name]


def _converted(raw: object, kind: type[T], where: str) -> T:
    try:
        return msgspec.convert(raw, kind)
    except msgspec.ValidationError as error:
        text, _, path = str(error).partition(" - at `$.")
        place = ".".join(part for part in (where, path.removesuffix("`")) if part)
        if not text.startswith(UNKNOWN):
            raise PlanError(f"{place}: {text[0].lower()}{text[1:]}") from None
        unknown = text.removeprefix(UNKNOWN).removesuffix("`")
        known = ", ".join(sorted(_fields(kind, path.removesuffix("`"))))
        raise PlanError(f"{place + '.' if place else ''}{unknown} is not known; there are: {known}") from None


def _fields(kind: Any, path: str) -> tuple[str, ...]:
    """The names that may stand at a path inside a struct."""
    for part in filter(None, path.split(".")):
        kind = typing.get_type_hints(kind)[part]
    names: tuple[str, ...] = kind.__struct_fields__
    return names
