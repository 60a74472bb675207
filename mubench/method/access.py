"""What a method may declare, and what it may report."""

from mubench.record.schema import UPDATE_LOG as UPDATE_LOG

SHARDS = "shards"
"""Access to the shards of an original that is an ensemble. So the method is for such tasks only."""

ACCESS = frozenset({"forget", "retain", "holdout", "training_log", SHARDS, UPDATE_LOG})
"""What a method may declare in `requires`."""

GOLD_LABELS = "gold_labels"
"""Access to which samples of D_f the golds get right."""

GOLD_PROBABILITIES = "gold_probabilities"
"""Access to what the golds give out on D_f."""

GOLD_ACCESS = frozenset({GOLD_LABELS, GOLD_PROBABILITIES})
"""Access for controls only: a method that declares any of it is never ranked."""

REPORTS = ("easy", "easy_score")
"""What a method may report about each sample of D_f."""
