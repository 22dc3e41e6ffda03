"""What a loop achieved, in numbers that reconcile."""
