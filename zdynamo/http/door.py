"""What all requests of one process share: the client, who serves, who watches, and how much is in progress."""

from typing import TYPE_CHECKING

from zdynamo.client.io_loop import LoopClient
from zdynamo.client.limits import DEFAULTS
from zdynamo.http.audience import Audience
from zdynamo.http.problems import busy

if TYPE_CHECKING:
    from zdynamo.http.spans import RequestSpans

BODIES_BYTES_MAX = 64 * 2**20  # of requests being read or served; beyond, requests are answered *overloaded*
JSON_BYTES_EXTRA = 2**20  # JSON may take more bytes than the value in it: twice as many, and this


class Door:
    """For one event loop."""

    def __init__(
        self,
        client: LoopClient,
        served_by: str,
        node: str = "",
        spans: "RequestSpans | None" = None,
        names: frozenset[str] | None = None,
    ) -> None:
        """`served_by`: the public address that answers name; `node`: that of the node this process belongs to.

        `spans`: opens one for each request for data, if requests are traced. `names`: those that requests may be sent
        to, beside numbers and localhost; None: any.
        """
        self.client = client
        self.served_by = served_by
        self.node = node
        self.audience = Audience(client, node)
        self.spans = spans
        self.names = names
        self._bytes_held = 0

    @property
    def value_bytes_max(self) -> int:
        """As the cluster says, once it is known."""
        topology = self.client.topology_known
        return (topology.limits if topology and topology.limits else DEFAULTS).value_bytes_max

    def hold(self, count: int) -> None:
        """Raises: Problem."""
        if self._bytes_held + count > BODIES_BYTES_MAX:
            raise busy("too many large requests are in progress here: try again later")
        self._bytes_held += count

    def release(self, count: int) -> None:
        self._bytes_held -= count
