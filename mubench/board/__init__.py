"""The leaderboard: records in, page and plots out. Imports no torch."""
