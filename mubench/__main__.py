"""`python -m mubench`."""

from .cli import main

main()
