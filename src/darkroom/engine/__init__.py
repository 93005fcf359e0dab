"""The engine room: unmodified pipelines as fibers, their module calls batched across requests."""
