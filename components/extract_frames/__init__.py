"""Turn a folder or an S3 prefix of pictures into a sample index and shards."""
