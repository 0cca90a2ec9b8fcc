"""How owners find out where they differ, and come to hold the same."""
