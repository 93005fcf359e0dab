"""A model repository for Triton, and what runs from it there."""
