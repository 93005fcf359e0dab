"""The service's figures: what it costs to be durable, and what is lost on the way from the engine to a client."""
