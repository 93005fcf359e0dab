"""Pipelines of several components: users' plain Python. See docs/architecture/16-plain-pipelines.md."""
