"""Pipelines of several components: users' plain Python. See docs/architecture/14-plain-pipelines.md."""
