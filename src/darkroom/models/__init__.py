"""What can be served: the catalogue, loading, presets and sizes; `bundled/` holds the model that ships."""
