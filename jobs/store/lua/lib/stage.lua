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
  local ageing = tonumber(redis.call('HGET', config, 'ageing') or '0')
  for n = 1, #ids do
    local priority, token, failures, losses, interruptions, flags = unpack_record(packed[n])
    local tail = tail_of(packed[n])
    local place = sequence + n
    if ageing > 0 then
      place = tonumber(due[2 * n]) + (priority - 1) * ageing + place % 2048 / 2048
      flags = bit.bor(flags, AGED)
    elseif bit.band(flags, AGED) > 0 then
      flags = flags - AGED
    end
    local fresh = pack_record(priority, token, failures, losses, interruptions, flags, place, tonumber(due[2 * n]), 0, tail)
    if tail == '' then
      scores[#scores + 1] = string.format('%.17g', score_of(priority, flags, place))
      scores[#scores + 1] = ids[n]
    else
      line_up(ids[n], fresh)
    end
    records[#records + 1] = ids[n]
    records[#records + 1] = fresh
    tell('waiting', ids[n], '')
  end
  if #scores > 0 then redis.call('ZADD', ready, unpack(scores)) end
  redis.call('HSET', record, unpack(records))
  redis.call('ZREM', later, unpack(names))
end
