"""Programs of others that Darkroom works with; each knows it by its API alone, as any outsider would."""
