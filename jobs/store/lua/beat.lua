#!lua flags=allow-oom
-- Notes that a worker is alive and forgets those that have not been heard of.
-- keys: workers claims later
-- args: now:int worker:str stale_ms:int data:str
-- returns: now, and 1 if a delayed job is overdue, which a lost wake-up left unseen (else 0)
-- include: time
local all = redis.call('HGETALL', workers)
for i = 1, #all, 2 do
  if struct.unpack('>d', all[i + 1]) < now - stale_ms then
    redis.call('HDEL', workers, all[i])
    redis.call('HDEL', claims, all[i], all[i] .. '#')
  end
end
redis.call('HSET', workers, worker, struct.pack('>d', now) .. data)
local head = redis.call('ZRANGE', later, 0, 0, 'WITHSCORES')[2]
return {now, head and tonumber(head) <= now and 1 or 0}
