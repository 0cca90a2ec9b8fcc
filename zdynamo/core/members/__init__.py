"""Who is in the cluster: the member table, how it spreads, and how a node comes into it."""
