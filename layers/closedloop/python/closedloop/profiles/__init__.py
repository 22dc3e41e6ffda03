"""What the events say of a person now."""
