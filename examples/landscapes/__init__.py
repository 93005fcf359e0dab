"""The bundled landscape model: its drawings, captions, training and evaluation."""
