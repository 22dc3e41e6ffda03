"""Which campaigns share the credit of a deal."""
