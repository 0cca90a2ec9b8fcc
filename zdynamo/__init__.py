"""zdynamo: a leaderless, highly available key-value store over ZeroMQ."""

from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.1.0"
__all__ = ["DELETE", "AsyncClient", "Client", "Value", "__version__", "merge_function"]

if TYPE_CHECKING:
    from zdynamo.client import DELETE, AsyncClient, Client, Value
    from zdynamo.merging import merge_function

_HOMES = {  # looked up on first use: a node needs no client
    "AsyncClient": "zdynamo.client",
    "Client": "zdynamo.client",
    "DELETE": "zdynamo.client",
    "Value": "zdynamo.client",
    "merge_function": "zdynamo.merging",
}


def __getattr__(name: str) -> object:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'zdynamo' has no attribute {name!r}")
