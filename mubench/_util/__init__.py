"""What has no word of unlearning in it: the cache, files, hashes, messages, workers, statistics."""
