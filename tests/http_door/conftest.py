"""An application over a cluster in this process, shared by the tests of a file: each uses keys of its own."""

from collections.abc import Iterator

import pytest
from support.asgi import VALUE_BYTES_MAX, Http, over_http

from zdynamo.config import BucketSettings
from zdynamo.fixtures.cluster import InProcessCluster
from zdynamo.fixtures.shape import Shape

BUCKETS = {
    "sets": BucketSettings(conflict="merge:zdynamo.merges:union"),
    "broken": BucketSettings(conflict="merge:nowhere:nothing"),
}


@pytest.fixture(scope="module")
def cluster() -> Iterator[InProcessCluster]:
    with InProcessCluster(Shape(buckets=BUCKETS, limits={"value_bytes_max": VALUE_BYTES_MAX})) as made:
        made.wait_until_ready()
        yield made


@pytest.fixture
def http(cluster: InProcessCluster) -> Iterator[Http]:
    with over_http(cluster) as made:
        yield made
