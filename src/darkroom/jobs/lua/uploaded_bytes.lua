-- uploaded_bytes: what a tenant's uploads take; with '1' those of all tenants whose names begin so.
-- ARGV: tenant, whether it is a prefix ('1'). Returns it as text.

stored_bytes()
local prefix = ARGV[2]
if ARGV[3] ~= '1' then return call('HGET', P .. 'uploaded', prefix) or '0' end
local all, sum = call('HGETALL', P .. 'uploaded'), 0
for i = 1, #all, 2 do
  if string.sub(all[i], 1, #prefix) == prefix then sum = sum + tonumber(all[i + 1]) end
end
return string.format('%.0f', sum)
