"""Whoever is told of the health: each output reads a snapshot or observes the store."""
