"""A model archive for TorchServe, and what runs from it there."""
