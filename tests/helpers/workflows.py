"""Workflows of a forge."""

import yaml


def commands(workflow):
    """The shell commands of a workflow, job by job."""
    jobs = yaml.safe_load(workflow.read_text())["jobs"]
    return [step["run"] for job in jobs.values() for step in job["steps"] if "run" in step]
