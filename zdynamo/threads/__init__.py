"""A node as threads joined by inproc pipes: the only place with its sockets, threads and clocks."""
