"""Measures speed, size and write cost against the usual way of building the same thing."""
