"""`python -m darkroom` is the `darkroom` command."""

from .cli import main

main()
