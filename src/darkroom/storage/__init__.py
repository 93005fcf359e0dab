"""Bytes in and out: pictures with the settings that made them, and files that are whole or not there."""
