"""HTTP in, jobs out. Stateless but for its streams; imports without torch."""
