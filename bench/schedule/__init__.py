"""Scheduling in a simulation: the engine's own batcher over a simulated clock, against other policies; no torch."""
