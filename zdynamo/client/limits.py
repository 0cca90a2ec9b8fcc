"""What a cluster takes at most, as its nodes tell it: larger requests are refused before they are sent."""

from zdynamo.messages import ClientLimits, ClientRequest, Delete, Explain, Get, Put

DEFAULTS = ClientLimits(key_bytes_max=4096, value_bytes_max=8 * 2**20)  # of a cluster that has not told its own

KEYED = (Get, Put, Delete, Explain)


class Limits:
    """Until they are known, what exceeds the defaults is neither sent nor refused."""

    def __init__(self, in_flight_bytes_max: int) -> None:
        """`in_flight_bytes_max`: a larger value is never sent, whatever the cluster takes."""
        self.known = False
        self._in_flight_bytes_max = in_flight_bytes_max
        self._key_bytes_max = DEFAULTS.key_bytes_max
        self._value_bytes_max = DEFAULTS.value_bytes_max

    def learn(self, limits: ClientLimits | None) -> None:
        """None: from a node that does not tell."""
        told = limits or DEFAULTS
        self._key_bytes_max, self._value_bytes_max = told.key_bytes_max, told.value_bytes_max
        self.known = True

    def refuses(self, request: ClientRequest) -> bool:
        """Whether what is in excess is so for good."""
        return self.known or (isinstance(request, Put) and len(request.value) > self._in_flight_bytes_max)

    def excess(self, request: ClientRequest) -> str:
        """What is too large, in words; "": nothing."""
        if not isinstance(request, KEYED):
            return ""
        if len(request.key) > self._key_bytes_max:
            return f"the key has {len(request.key)} bytes: use 1 to {self._key_bytes_max}"
        if isinstance(request, Put) and len(request.value) > min(self._value_bytes_max, self._in_flight_bytes_max):
            most = min(self._value_bytes_max, self._in_flight_bytes_max) if self.known else self._in_flight_bytes_max
            return f"the value has {len(request.value)} bytes: use at most {most}"
        return ""
