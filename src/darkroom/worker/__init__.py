"""A worker: claims jobs, drives one engine, and tells the store what became of them."""
