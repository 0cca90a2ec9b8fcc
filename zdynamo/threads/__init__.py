"""A node as threads joined by inproc pipes: the only place with its sockets, threads and clocks (DESIGN 2.1)."""
