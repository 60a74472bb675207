"""May this be merged? Regressions, and entries of the leaderboard. Imports no torch."""
