"""What flows between the steps: decoding, forging, index, shards, splits, transforms and storage."""
