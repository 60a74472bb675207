"""What an author meets: the problem, and how a method is found, set and checked."""
