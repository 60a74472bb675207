"""What a method may declare, and what it may report."""

ACCESS = frozenset({"forget", "retain", "holdout", "training_log"})
"""What a method may declare in `requires`."""

GOLD_LABELS = "gold_labels"
"""Access for controls only: a method that declares it is never ranked."""


REPORTS = ("easy", "easy_score")
"""What a method may report about each sample of D_f."""
