"""Each folder is one Lambda function."""
