#!lua flags=allow-oom
-- Takes a place of a limit that several share, for code that is no job of a queue.
-- keys: shared_holding shared_starts
-- args: now:int name:str holder:str concurrency:int starts:int period:int ttl:int
--   concurrency, starts: 0 for none; ttl: ms after which the place is free even if nobody gave it back
-- returns: 1 and the ms at which the place is given up, or 0 and the ms after which to try again
-- include: time
local SHARED_LOOK = 250
local gate = 's:' .. name
local last = '(' .. gate .. '\2'
local outside = '[' .. gate .. '\1\1'
redis.call('ZREMRANGEBYLEX', shared_holding, outside, '(' .. gate .. '\1\1' .. struct.pack('>d', now + 1))
if concurrency > 0 and redis.call('ZLEXCOUNT', shared_holding, '[' .. gate .. '\1', last) >= concurrency then
  local first = redis.call('ZRANGEBYLEX', shared_holding, outside, last, 'LIMIT', 0, 1)[1]
  local left = first and struct.unpack('>d', first, #gate + 3) - now or SHARED_LOOK
  return {0, math.min(left, SHARED_LOOK)}
end
if starts > 0 then
  local from = '[' .. gate .. '\1' .. struct.pack('>d', now - period + 1)
  local number = redis.call('ZLEXCOUNT', shared_starts, from, last)
  if number >= starts then
    local oldest = redis.call('ZRANGEBYLEX', shared_starts, from, last, 'LIMIT', number - starts, 1)[1]
    return {0, struct.unpack('>d', oldest, #gate + 2) + period - now}
  end
  redis.call('ZREMRANGEBYLEX', shared_starts, '[' .. gate .. '\1',
    '(' .. gate .. '\1' .. struct.pack('>d', now - period + 1))
  redis.call('ZADD', shared_starts, 0, gate .. '\1' .. struct.pack('>d', now) .. holder)
end
if concurrency > 0 then
  redis.call('ZADD', shared_holding, 0, gate .. '\1\1' .. struct.pack('>d', now + ttl) .. holder)
end
return {1, now + ttl}
