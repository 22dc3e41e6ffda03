"""What an owner declares of a site."""
