"""Clients of a cluster."""

from zdynamo.client.blocking import Client
from zdynamo.client.values import Value

__all__ = ["Client", "Value"]
