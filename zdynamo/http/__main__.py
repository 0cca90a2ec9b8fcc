"""A process that serves HTTP: a node's child, or a worker of a gateway."""

import sys

from zdynamo.http.server import serve
from zdynamo.http.settings import parse

serve(parse(sys.argv[1]))
