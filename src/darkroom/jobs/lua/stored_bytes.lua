-- stored_bytes: the sizes of all artifacts together. Returns them as text.

return whole(stored_bytes())
