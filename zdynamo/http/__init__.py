"""The HTTP door: a client of the cluster like any other, in a process of its own."""
