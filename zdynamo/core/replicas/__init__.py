"""What this node keeps for others: its own partitions, and hints for members that are away."""
