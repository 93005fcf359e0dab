"""`darkroom bench`: load over HTTP that does not wait for answers, sent by the Client, and what became of it."""
