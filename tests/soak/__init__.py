"""Kills at random under load, for hours if one likes; `make soak`."""
