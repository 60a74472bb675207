"""Tools that know nothing of unlearning, such as the cache, hashes, statistics and workers."""
