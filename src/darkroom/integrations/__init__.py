"""Programs of others that Darkroom works with: it is their client, or one model of it runs in them."""
