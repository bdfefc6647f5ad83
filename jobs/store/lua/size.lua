#!lua flags=no-writes
-- Counts the jobs in each state and tells since when the first waiting one is free to run.
-- keys: leases ready grouped later completed failed cancelled expired parked body record
-- args: now:int
-- returns: now, since when in ms (-1 none), then the sizes of active, waiting, delayed, completed,
--   failed, cancelled, expired, parked
-- include: time record
local reply = {now, -1}
for _, zset in ipairs({leases, ready, later, completed, failed, cancelled, expired, parked}) do
  reply[#reply + 1] = redis.call('ZCARD', zset)
end
reply[4] = reply[4] + redis.call('ZCARD', grouped)
local head = redis.call('ZRANGE', ready, 0, 0)[1]
if head then
  local packed = redis.call('HGET', record, head)
  local stored = redis.call('HGET', body, head)
  if packed then
    local _, _, _, _, _, _, _, available = unpack_record(packed)
    reply[2] = available
  elseif stored then
    reply[2] = enqueued_at(stored)
  end
end
return reply
