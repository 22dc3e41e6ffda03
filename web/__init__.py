"""The tracker that pages load, and its build."""
