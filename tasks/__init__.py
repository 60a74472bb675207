"""The built-in tasks: one TOML file each."""
