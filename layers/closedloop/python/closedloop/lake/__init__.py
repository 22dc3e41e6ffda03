"""The one door to S3 files and DuckDB."""
