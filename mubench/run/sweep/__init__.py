"""Sweeps: a grid is planned, its jobs are run and continued after a kill."""
