"""Small adapters for the bundled model: two drawn styles and a four-step distillation."""
