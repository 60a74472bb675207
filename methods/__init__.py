"""The built-in methods: one file each. They use only what `from mubench import ...` gives."""
