"""Jobs for models that another Darkroom runs: claimed here like a worker's, done there, and told here. No torch."""
