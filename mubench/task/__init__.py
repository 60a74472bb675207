"""Tasks and cases: the task file, the data set that it names, and how its images are split."""
