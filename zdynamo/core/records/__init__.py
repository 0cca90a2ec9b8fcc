"""What is kept under a key: clocks, siblings, dots and times, and the rules by which they end."""
