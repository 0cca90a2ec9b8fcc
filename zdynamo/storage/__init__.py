"""Where a node keeps its records: the engines behind the store protocol."""
