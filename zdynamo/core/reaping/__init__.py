"""How what is dead leaves the disk, on proof that no copy of what it covers is left."""
