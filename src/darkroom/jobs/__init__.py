"""Durable jobs: rows that survive, claims that are leases, and one keeper that puts right what time has broken."""
