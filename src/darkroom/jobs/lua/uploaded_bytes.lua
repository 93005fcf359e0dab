-- uploaded_bytes: what a tenant's uploads take. ARGV: tenant. Returns it as text.

stored_bytes()
return call('HGET', P .. 'uploaded', ARGV[2]) or '0'
