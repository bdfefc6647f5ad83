-- moves up to 100 delayed jobs that are due to the end of their priority
local function stage()
  local due = redis.call('ZRANGEBYSCORE', later, '-inf', now, 'WITHSCORES', 'LIMIT', 0, 100)
  if #due == 0 then return end
  local ids, scores, records = {}, {}, {}
  local names = {}
  for i = 1, #due, 2 do
    names[#names + 1] = due[i]
    ids[#ids + 1] = string.sub(due[i], 9)
  end
  local packed = redis.call('HMGET', record, unpack(ids))
  local sequence = redis.call('HINCRBY', config, 'sequence', #ids) - #ids
  for n = 1, #ids do
    local priority, token, failures, losses, interruptions, flags = unpack_record(packed[n])
    scores[#scores + 1] = priority * SPAN + sequence + n
    scores[#scores + 1] = ids[n]
    records[#records + 1] = ids[n]
    records[#records + 1] = pack_record(priority, token, failures, losses, interruptions, flags,
      sequence + n, tonumber(due[2 * n]))
  end
  redis.call('ZADD', ready, unpack(scores))
  redis.call('HSET', record, unpack(records))
  redis.call('ZREM', later, unpack(names))
end
