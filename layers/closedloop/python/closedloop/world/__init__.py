"""A synthetic world with known truth: the demo and the tests' oracle."""
