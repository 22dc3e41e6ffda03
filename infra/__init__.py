"""The stacks, one construct per concern."""
