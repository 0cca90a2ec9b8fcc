"""The settings that the core needs; the threads fill them from the configuration."""

from msgspec import Struct


class NodeLimits(Struct, frozen=True, kw_only=True):
    """Defaults of requests, and what a node takes at most."""

    r: int = 2
    w: int = 2
    replica_timeout_ms: int = 100
    key_bytes_max: int = 4096
    value_bytes_max: int = 8 * 2**20
    value_warn_bytes: int = 2**20
    siblings_max: int = 100
    siblings_warn: int = 25
    record_bytes_max: int = 32 * 2**20
    requests_max: int = 2000
    in_flight_bytes_max: int = 64 * 2**20
    peer_bytes_max: int = 32 * 2**20
    deadline_ms_max: int = 60_000
    clock_skew_ms: int = 500
    background_bytes_per_s: int = 32 * 2**20
    reap_interval_ms: int = 10_000
    hint_count_max: int = 1_000_000
    hint_bytes_max: int = 2**30
    repair_interval_ms: int = 1_000  # 0: never


class Rhythms(Struct, frozen=True, kw_only=True):
    """The membership's intervals."""

    heartbeat_ms: int = 200
    ping_ms: int = 500
    suspect_phi: float = 8.0
    probe_timeout_ms: int = 600
    exchange_ms: int = 5000
    listen_ms: int = 2000
    seed_retry_max_ms: int = 5000
