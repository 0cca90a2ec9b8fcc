"""The C pumps: what arrives at a border socket goes into a channel (and back) without Python and without the GIL."""

import zmq

from zdynamo.threads.channel import Socket, offer


def pump(border: Socket, channel: Socket, control: Socket) -> None:
    """Own the border socket: move messages both ways until the control socket says TERMINATE."""
    try:
        zmq.proxy_steerable(border, channel, None, control)
    except zmq.ContextTerminated:
        pass
    finally:
        for socket in (channel, control):
            socket.close(0)
        border.close(FAREWELL_MS)


FAREWELL_MS = 200  # that answers on their way out have when the node stops


def stop(control: Socket) -> None:
    """Tell a pump to end; from the thread that owns the other end of its control channel.

    Close that end only when the pump has ended: one that loses its control channel may sleep for ever.
    """
    offer(control, [b"TERMINATE"])  # nobody is there if it has ended by itself
