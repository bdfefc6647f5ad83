#!lua flags=no-writes
-- Counts the jobs in each state and tells since when the oldest waiting one is free to run: of the first
-- twenty priorities, and of the groups whose turns are the next and the last twenty.
-- keys: leases ready grouped turns later completed failed cancelled expired parked body record
-- args: now:int
-- returns: now, since when in ms (-1 none), then the sizes of active, waiting, delayed, completed,
--   failed, cancelled, expired, parked
-- include: time record
local reply = {now, -1}
for _, zset in ipairs({leases, ready, later, completed, failed, cancelled, expired, parked}) do
  reply[#reply + 1] = redis.call('ZCARD', zset)
end
reply[4] = reply[4] + redis.call('ZCARD', grouped)
local LOOKED_AT = 20
local function look(id)
  local packed, stored = redis.call('HGET', record, id), redis.call('HGET', body, id)
  local since
  if packed then
    since = select(8, unpack_record(packed))
  elseif stored then
    since = enqueued_at(stored)
  end
  if since and (reply[2] < 0 or since < reply[2]) then reply[2] = since end
end
local from = '-inf'
for _ = 1, LOOKED_AT do
  local head = redis.call('ZRANGEBYSCORE', ready, from, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
  if not head[1] then break end
  look(head[1])
  from = string.format('%.17g', (math.floor(tonumber(head[2]) / SPAN) + 1) * SPAN)
end
for _, range in ipairs({{0, LOOKED_AT - 1}, {-LOOKED_AT, -1}}) do
  for _, group in ipairs(redis.call('ZRANGE', turns, range[1], range[2])) do
    local head = redis.call('ZRANGEBYLEX', grouped, '[' .. group .. '\1', '(' .. group .. '\2', 'LIMIT', 0, 1)[1]
    if head then look(string.sub(head, #group + 10)) end
  end
end
return reply
