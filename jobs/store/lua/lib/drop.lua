-- removes kept jobs of one terminal state and everything that belongs to them
-- size: bytes of the body, with the result once the job has ended; 0 for unknown, then they are
-- asked for: one call of the server for each job costs more than all else that is done for it
local function noted_size(packed)
  return packed and #packed >= RECORD_BYTES and struct.unpack('>I4', packed, RECORD_BYTES - 3) or 0
end
local function body_size(id, packed)
  local size = noted_size(packed)
  return size > 0 and size or redis.call('HSTRLEN', body, id)
end
local function size_of(id, packed)
  local size = noted_size(packed)
  return size > 0 and size or redis.call('HSTRLEN', body, id) + redis.call('HSTRLEN', result, id)
end
local function with_size(packed, size)
  return string.sub(packed, 1, RECORD_BYTES - 4) .. struct.pack('>I4', size) .. tail_of(packed)
end
local function drop(state, zset, ids)
  if #ids == 0 then return end
  local bytes = 0
  local packed = redis.call('HMGET', record, unpack(ids))
  for i = 1, #ids do bytes = bytes + size_of(ids[i], packed[i]) end
  redis.call('ZREM', zset, unpack(ids))
  redis.call('ZREM', expiry, unpack(ids))
  redis.call('HDEL', body, unpack(ids))
  redis.call('HDEL', record, unpack(ids))
  redis.call('HDEL', result, unpack(ids))
  redis.call('HDEL', progress, unpack(ids))
  redis.call('HDEL', logs, unpack(ids))
  redis.call('HINCRBY', config, 'bytes:' .. state, -bytes)
end
