"""zdynamo: a leaderless, highly available key-value store over ZeroMQ."""

from typing import TYPE_CHECKING

__version__ = "0.1.0"
__all__ = ["Client", "__version__"]

if TYPE_CHECKING:
    from zdynamo.client import Client


def __getattr__(name: str) -> object:
    if name == "Client":
        from zdynamo.client import Client

        return Client
    raise AttributeError(f"module 'zdynamo' has no attribute {name!r}")
