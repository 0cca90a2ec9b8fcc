"""Whole clusters on one thread, with seeded time, network and faults: for our tests and yours."""
