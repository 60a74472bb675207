"""A third party's method, in a package of its own: what mubench's tests install and run."""
