"""The one place that knows the environment, the clock, Powertools and clients."""
