"""Tasks and cases: what a task fixes, the images it names, and how they are cut."""
