#!lua flags=allow-oom
-- Forgets the starts that a rate has counted, so that it opens at once.
-- keys: starts shared_starts rate alarms config wake
-- args: now:int gate:str
--   gate: as lua/lib/gates.lua names it; `q` is the queue, whose closing by a 429 ends too
-- returns: how many starts were forgotten
-- include: time wake
local first, last = '[' .. gate .. '\1', '(' .. gate .. '\2'
local forgotten = redis.call('ZREMRANGEBYLEX', starts, first, last)
if string.sub(gate, 1, 2) == 's:' then
  forgotten = redis.call('ZREMRANGEBYLEX', shared_starts, first, last)
elseif gate == 'q' then
  forgotten = forgotten + redis.call('LLEN', rate)
  redis.call('DEL', rate)
  redis.call('HDEL', config, 'closed')
end
redis.call('ZADD', alarms, now, gate)
ring()
return forgotten
