"""Running methods: one cell into one record, many cells in a sweep."""
