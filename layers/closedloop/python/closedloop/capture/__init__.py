"""The doors in: outside words to ours."""
