"""Closed-loop marketing that its owner runs in its own AWS account."""
