#!lua flags=allow-oom
-- Notes that a worker is alive and forgets those that have not been heard of.
-- keys: workers claims later alarms
-- args: now:int worker:str stale_ms:int data:str
-- returns: now, and 1 if a delayed job or a limit is overdue, which a lost wake-up left unseen (else 0)
-- include: time
local all = redis.call('HGETALL', workers)
for i = 1, #all, 2 do
  if struct.unpack('>d', all[i + 1]) < now - stale_ms then
    redis.call('HDEL', workers, all[i])
    redis.call('HDEL', claims, all[i], all[i] .. '#')
  end
end
redis.call('HSET', workers, worker, struct.pack('>d', now) .. data)
local overdue = 0
for _, zset in ipairs({later, alarms}) do
  local head = redis.call('ZRANGE', zset, 0, 0, 'WITHSCORES')[2]
  if head and tonumber(head) <= now then overdue = 1 end
end
return {now, overdue}
