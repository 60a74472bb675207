"""Where the entries of a cache lie: as folders on a disk, or as objects behind a URL."""
