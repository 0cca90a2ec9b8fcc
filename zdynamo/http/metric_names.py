"""Which metric each counter of a node is."""

from typing import NamedTuple


class Metric(NamedTuple):
    """A metric that one or several counters are part of, told apart by labels."""

    name: str  # with `_total` if it is a counter
    about: str
    labels: dict[str, str] = {}
    per: int = 1  # so many of what a node counts are one of the metric's unit


COORDINATED = "zdynamo_coordinated_total", "Requests that this node coordinated, whichever node they were sent to."
SLOPPY = "zdynamo_sloppy_total", "Requests for which a fallback was asked in the place of an owner."
TURNED_AWAY = "zdynamo_turned_away_total", "Requests, also of other nodes, that were turned away at once."
REPAIRS = "zdynamo_read_repairs_total", "Copies that lacked something when they were read."
TAKEN = "zdynamo_taken_total", "Frames and requests taken; divided by the turns of the loop, the mean depth it finds."
DROPPED = "zdynamo_dropped_total", "Messages for which a channel or the queue to a peer had no room."
IGNORED = "zdynamo_ignored_total", "What came from outside and was not understood or not meant for this node."
REFUSED = "zdynamo_records_refused_total", "Records that a replica would not take."
COMPARED = "zdynamo_compared_partitions_total", "Comparisons of a partition with another owner."
EVENED = "zdynamo_compared_records_total", "Records of which one of two owners compared had less, by what became of it."
REAP = "zdynamo_reap_passes_total", "Passes over what is dead that this node led."
LOST = "zdynamo_peer_failures_total", "Times that a peer could not be sent to."

METRICS: dict[str, Metric] = {
    "gets": Metric(*COORDINATED, {"kind": "get"}),
    "puts": Metric(*COORDINATED, {"kind": "put"}),
    "deletes": Metric(*COORDINATED, {"kind": "delete"}),
    "listings": Metric(*COORDINATED, {"kind": "list"}),
    "writes.sloppy": Metric(*SLOPPY, {"kind": "write"}),
    "reads.sloppy": Metric(*SLOPPY, {"kind": "read"}),
    "requests.overloaded": Metric(*TURNED_AWAY, {"why": "overloaded"}),
    "requests.refused": Metric(*TURNED_AWAY, {"why": "refused"}),
    "requests.late": Metric(*TURNED_AWAY, {"why": "late"}),
    "requests.foreign": Metric(*TURNED_AWAY, {"why": "other_cluster"}),
    "requests.forwarded": Metric("zdynamo_forwarded_total", "Requests handed on to a node that can coordinate them."),
    "requests.unanswered": Metric("zdynamo_requests_unanswered", "Requests in progress."),
    "requests.bytes_in_flight": Metric("zdynamo_requests_unanswered_bytes", "What requests in progress keep."),
    "conditions.failed": Metric("zdynamo_conditions_failed_total", "Conditional puts that found what they ruled out."),
    "reads.with_siblings": Metric("zdynamo_reads_with_siblings_total", "Reads that showed more than one value."),
    "reads.old_copies": Metric("zdynamo_reads_old_copies_total", "Answers left out of reads for being of an old copy."),
    "repairs.sent": Metric(*REPAIRS, {"outcome": "sent"}),
    "repairs.skipped": Metric(*REPAIRS, {"outcome": "skipped"}),
    "hints.handed_over": Metric("zdynamo_hints_handed_over_total", "Records held for a member that it has now."),
    "hints.refused": Metric("zdynamo_hints_refused_total", "Records not held for a member, as too many already were."),
    "compare.partitions": Metric(*COMPARED, {"outcome": "done"}),
    "compare.failed": Metric(*COMPARED, {"outcome": "failed"}),
    "compare.differing": Metric("zdynamo_compared_differing_total", "Comparisons that found a difference."),
    "compare.stored_here": Metric(*EVENED, {"outcome": "stored_here"}),
    "compare.stored_there": Metric(*EVENED, {"outcome": "stored_there"}),
    "compare.refused": Metric(*EVENED, {"outcome": "refused"}),
    "compare.known": Metric("zdynamo_differences", "Partitions known to differ from another owner, for each of those."),
    "compare.known_ms": Metric(
        "zdynamo_difference_oldest_seconds", "For how long the oldest of those has been known; 0: there is none.",
        per=1000,
    ),
    "compare.alike_ms": Metric(
        "zdynamo_alike_age_seconds", "How long ago all copies compared by this node were alike; none: not so far.",
        per=1000,
    ),
    "trees.built": Metric("zdynamo_trees_built", "Partitions with a finished hash tree."),
    "trees.owned": Metric("zdynamo_trees_owned", "Partitions that are to have one."),
    "tombstones.waiting": Metric(
        "zdynamo_tombstones_waiting", "Tombstones and values that expire, when the index was last looked through."
    ),
    "tombstones.reaped": Metric("zdynamo_tombstones_reaped_total", "Dead records removed on proof."),
    "reap.passes": Metric(*REAP, {"outcome": "done"}),
    "reap.blocked": Metric(*REAP, {"outcome": "blocked"}),
    "partitions.unsettled": Metric("zdynamo_partitions_unsettled", "Partitions of which this node may lack records."),
    "partitions.set_aside": Metric("zdynamo_partitions_set_aside_total", "Old copies moved out of sight."),
    "pulls.pages": Metric("zdynamo_pulled_pages_total", "Pages got from other owners for unsettled partitions."),
    "pulls.records": Metric("zdynamo_pulled_records_total", "Records in them that this node had less of."),
    "pulls.skipped": Metric("zdynamo_pulled_skipped_total", "Records in them that could not be taken."),
    "lww.discarded": Metric("zdynamo_lww_discarded_total", "Writes that last-write-wins dropped unseen."),
    "commits.failed": Metric("zdynamo_commits_failed_total", "Batches that the store did not take."),
    "replica.refused": Metric(*REFUSED, {"by": "this_node"}),
    "replica.refused_us": Metric(*REFUSED, {"by": "others"}),
    "peers.unreachable": Metric(*LOST, {"why": "lost"}),
    "peers.full": Metric(*LOST, {"why": "queue_full"}),
    "frames.taken": Metric(*TAKEN, {"channel": "inbox"}),
    "requests.taken": Metric(*TAKEN, {"channel": "requests"}),
    "frames.dropped": Metric(*DROPPED, {"channel": "peer"}),
    "answers.dropped": Metric(*DROPPED, {"channel": "answers"}),
    "news.dropped": Metric(*DROPPED, {"channel": "news"}),
    "mail.dropped": Metric(*DROPPED, {"channel": "mail"}),
    "frames.malformed": Metric(*IGNORED, {"what": "frame", "why": "malformed"}),
    "frames.foreign": Metric(*IGNORED, {"what": "frame", "why": "foreign"}),
    "frames.unexpected": Metric(*IGNORED, {"what": "frame", "why": "unexpected"}),
    "requests.malformed": Metric(*IGNORED, {"what": "request", "why": "malformed"}),
    "gossip.malformed": Metric(*IGNORED, {"what": "gossip", "why": "malformed"}),
}  # fmt: skip
