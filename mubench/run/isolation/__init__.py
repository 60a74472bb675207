"""Methods in processes of their own, where golds and scored data are out of reach."""
