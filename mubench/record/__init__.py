"""Records and readouts: their numbers, their files, and whether they hold. Imports no torch."""
