"""Other people's APIs, one file each: they translate to a job and back, and own the shape of their errors."""
