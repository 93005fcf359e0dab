-- add_artifact: registers an upload. ARGV: id, JSON, created_at, whether a job made it ('1').

keep_artifact(ARGV[2], ARGV[3])
if ARGV[5] ~= '1' then call('ZADD', P .. 'uploads', ARGV[4], ARGV[2]) end
return 1
