"""What a cluster takes at most, as its nodes tell it: larger requests are refused before they are sent."""

from zdynamo.messages import ClientLimits, ClientRequest, Delete, Explain, Get, Put

DEFAULTS = ClientLimits(key_bytes_max=4096, value_bytes_max=8 * 2**20)  # of a cluster that has not told its own

KEYED = (Get, Put, Delete, Explain)


class Limits:
    """Until they are known, what exceeds the defaults is neither sent nor refused."""

    def __init__(self) -> None:
        self.known = False
        self._key_bytes_max = DEFAULTS.key_bytes_max
        self._value_bytes_max = DEFAULTS.value_bytes_max

    def learn(self, limits: ClientLimits | None) -> None:
        """None: from a node that does not tell."""
        told = limits or DEFAULTS
        self._key_bytes_max, self._value_bytes_max = told.key_bytes_max, told.value_bytes_max
        self.known = True

    def excess(self, request: ClientRequest) -> str:
        """What is too large, in words; "": nothing."""
        if not isinstance(request, KEYED):
            return ""
        if len(request.key) > self._key_bytes_max:
            return f"the key has {len(request.key)} bytes: use 1 to {self._key_bytes_max}"
        if isinstance(request, Put) and len(request.value) > self._value_bytes_max:
            return f"the value has {len(request.value)} bytes: use at most {self._value_bytes_max}"
        return ""
