#!lua flags=allow-oom
-- Takes a worker that ends out of the registry.
-- keys: workers claims
-- args: now:int worker:str stale_ms:int
-- returns: how many other workers were heard of lately
-- include: time
redis.call('HDEL', workers, worker)
redis.call('HDEL', claims, worker, worker .. '#')
local alive = 0
local all = redis.call('HGETALL', workers)
for i = 2, #all, 2 do
  if struct.unpack('>d', all[i]) >= now - stale_ms then alive = alive + 1 end
end
return alive
