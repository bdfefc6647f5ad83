-- removes kept jobs of one terminal state and everything that belongs to them
local function kept_bytes(id)
  return redis.call('HSTRLEN', body, id) + redis.call('HSTRLEN', result, id)
end
local function drop(state, zset, ids)
  if #ids == 0 then return end
  local bytes = 0
  for i = 1, #ids do bytes = bytes + kept_bytes(ids[i]) end
  redis.call('ZREM', zset, unpack(ids))
  redis.call('ZREM', expiry, unpack(ids))
  redis.call('HDEL', body, unpack(ids))
  redis.call('HDEL', record, unpack(ids))
  redis.call('HDEL', result, unpack(ids))
  redis.call('HINCRBY', config, 'bytes:' .. state, -bytes)
end
