"""What runs on an accelerator: `python -m bench.gpu`."""
