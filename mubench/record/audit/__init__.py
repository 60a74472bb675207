"""The per-sample audit: an attack with golds as shadow models, and the file that it needs."""
