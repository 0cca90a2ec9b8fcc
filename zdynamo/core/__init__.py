"""The protocol, pure: no socket, thread, clock, random source, file or log."""
