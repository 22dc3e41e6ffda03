"""The usual way of building the collector: what the benchmarks compare with."""
