"""The pages in Markdown: the leaderboard, its excerpts, a page per method, reports of papers."""
