"""Who owns a key, and who stands in for an owner."""
