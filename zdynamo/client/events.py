"""What a driver tells the client core, what the core wants done, and how a call can end.

Points in time are milliseconds of any clock that never goes back; addresses are ZeroMQ endpoints with their scheme.
"""

from msgspec import Struct

from zdynamo.messages import ClientAnswer, ClientRequest


class Submitted(Struct, frozen=True):
    """A caller wants a request served. The core fills in request id, cluster, deadline and attempt."""

    call: int  # 0 <= call < 2**63, never used before with this core
    request: ClientRequest
    deadline_ms: int
    only_at: str = ""  # the one node to ask, or "" for whichever serves best


class SubmittedMany(Struct, frozen=True):
    """A caller wants many requests served; each is a call, numbered from `call` on. What does not fit yet waits."""

    call: int
    requests: list[ClientRequest]
    deadline_ms: int


class Withdrawn(Struct, frozen=True):
    """Nobody waits any more for what was submitted: forget it. A write among it may or may not be kept."""

    call: int  # the first of those that were submitted together
    count: int = 1  # all of them


class Answered(Struct, frozen=True):
    """A node answered one request."""

    address: str
    answer: ClientAnswer


class Connected(Struct, frozen=True):
    """The node at this address can be sent to from now on."""

    address: str


class Disconnected(Struct, frozen=True):
    """The connection broke, or an attempt to connect failed; what was sent there and not answered is lost."""

    address: str


class Tick(Struct, frozen=True):
    """Time has passed; due by `ClientCore.next_due_ms`."""


Event = Submitted | SubmittedMany | Withdrawn | Answered | Connected | Disconnected | Tick


class Connect(Struct, frozen=True):
    """Connect, and reconnect until told to disconnect; tell `Connected` and `Disconnected` each time."""

    address: str


class Disconnect(Struct, frozen=True):
    """Close the connection; nothing is outstanding there."""

    address: str


class Send(Struct, frozen=True):
    """Send a request to a connected node. All of one round to one node may travel in one frame."""

    address: str
    message: ClientRequest


class Complete(Struct, frozen=True):
    """The one end of a call; a call that was withdrawn has none."""

    call: int
    outcome: "Outcome"


Effect = Connect | Disconnect | Send | Complete


class DeadlinePassed(Struct, frozen=True):
    """Nobody gave a final answer in time; a write may or may not have been kept, unless there were no attempts."""

    deadline_ms: int
    attempts: int
    last: str  # what the last answer said, "" if there was none


class NoNodeReached(Struct, frozen=True):
    """The request was never sent: every node turned the connection down."""

    addresses: tuple[str, ...]


Outcome = ClientAnswer | DeadlinePassed | NoNodeReached
