"""The one door to DynamoDB."""
