"""The secret half: the whole task on a device, its originals and golds."""
