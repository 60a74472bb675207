"""The plots of the leaderboard, the only place that draws."""
