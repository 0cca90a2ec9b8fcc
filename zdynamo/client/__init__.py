"""Clients of a cluster: for threads, and for asyncio."""

from typing import TYPE_CHECKING

from zdynamo.client.blocking import Client
from zdynamo.client.updates import DELETE
from zdynamo.client.values import Value

if TYPE_CHECKING:
    from zdynamo.client.aio import AsyncClient

__all__ = ["DELETE", "AsyncClient", "Client", "Value"]


def __getattr__(name: str) -> object:
    if name == "AsyncClient":  # brings in asyncio, which takes its time
        from zdynamo.client.aio import AsyncClient

        return AsyncClient
    raise AttributeError(f"module 'zdynamo.client' has no attribute {name!r}")
