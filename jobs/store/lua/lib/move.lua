-- where a job goes that was taken out of its place: to the end of its priority, or until a moment
local function last_place(priority, flags, at)
  local sequence = redis.call('HINCRBY', config, 'sequence', 1)
  local ageing = tonumber(redis.call('HGET', config, 'ageing') or '0')
  flags = flags - bit.band(flags, AGED)
  if ageing == 0 then return sequence, flags end
  return at + (priority - 1) * ageing + sequence % 2048 / 2048, bit.bor(flags, AGED)
end
local function wait_now(id, packed)
  local priority, token, failures, losses, interruptions, flags, sequence = unpack_record(packed)
  local tail = tail_of(packed)
  sequence, flags = last_place(priority, flags, now)
  packed = pack_record(priority, token, failures, losses, interruptions, flags, sequence, now, 0, tail)
  redis.call('HSET', record, id, packed)
  line_up(id, packed)
  tell('waiting', id, '')
  ring()
end
local function wait_until(id, packed, at)
  local priority, token, failures, losses, interruptions, flags, sequence = unpack_record(packed)
  if bit.band(flags, AGED) > 0 then
    flags = flags - AGED
    sequence = redis.call('HINCRBY', config, 'sequence', 1)
  end
  redis.call('HSET', record, id,
    pack_record(priority, token, failures, losses, interruptions, flags, sequence, at, 0, tail_of(packed)))
  local name = late(sequence, id)
  redis.call('ZADD', later, text_of(at), name)
  tell('delayed', id, text_of(at))
  if redis.call('ZRANGE', later, 0, 0)[1] == name then ring() end
end
-- the record of a job that waits, also of one that was never claimed and so has none yet
local function record_of(id, score, stored)
  local packed = redis.call('HGET', record, id)
  if packed then return packed end
  score = tonumber(score)
  return pack_record(math.floor(score / SPAN), 0, 0, 0, 0, 0, score % SPAN, enqueued_at(stored))
end
