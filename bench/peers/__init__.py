"""Darkroom and other servers on the same work: the same model, the same requests at the same moments, in turn."""
