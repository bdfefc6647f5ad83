-- ends attempts; each ack is three arguments: id, facts, history line
local ACK_FIELDS = 3
local FACTS = '>dc1dHd'
local VERBS = {c = 'completed', f = 'failed', x = 'cancelled', e = 'expired'}
local function requeue(id, line, verb, delay, priority, token, failures, losses, interruptions, flags, sequence, available)
  append_line(id, line)
  flags = bit.bor(flags, HAS_HISTORY)
  if verb == 'i' then
    interruptions = interruptions + 1
    redis.call('ZADD', ready, priority * SPAN + sequence, id)
    count('interrupted', 1)
  elseif verb == 'p' then
    redis.call('ZADD', parked, now, id)
    count('parked', 1)
  else
    if verb == 'r' then failures = failures + 1 end
    count(verb == 'r' and 'retried' or 'snoozed', 1)
    redis.call('ZADD', later, now + delay, late(sequence, id))
    available = now + delay
  end
  redis.call('HSET', record, id,
    pack_record(priority, token, failures, losses, interruptions, flags, sequence, available))
end
local function ack(first, packed, policies)
  local id, line = ARGV[first], ARGV[first + 2]
  local claimed, verb, delay, policy, ran = struct.unpack(FACTS, ARGV[first + 1])
  local priority, token, failures, losses, interruptions, flags, sequence, available, size = unpack_record(packed)
  if token ~= claimed then return '0' end
  local state = VERBS[verb]
  if verb == 'u' then
    redis.call('ZADD', ready, priority * SPAN + sequence, id)
  elseif state then
    if verb == 'f' then
      packed = pack_record(priority, token, failures + 1, losses, interruptions, flags, sequence, available, size)
    end
    local age, most, most_bytes = unpack(policies[policy])
    finish(state, id, line, bit.band(flags, HAS_HISTORY) == 0, packed, age, most, most_bytes)
    count(state, 1)
  else
    requeue(id, line, verb, delay, priority, token, failures, losses, interruptions, flags, sequence, available)
  end
  if ran >= 0 then bucket('run', ran) end
  return '1'
end
local function ack_all(first, last, policies)
  local ids, verdicts, released, done = {}, {}, {}, {}
  for i = first, last, ACK_FIELDS do ids[#ids + 1] = ARGV[i] end
  if #ids == 0 then return '' end
  local packed = redis.call('HMGET', record, unpack(ids))
  local held = redis.call('ZMSCORE', leases, unpack(ids))
  for n = 1, #ids do
    local at = first + (n - 1) * ACK_FIELDS
    local mine = packed[n] and held[n] and not done[ids[n]]
    verdicts[n] = mine and ack(at, packed[n], policies) or '0'
    if verdicts[n] == '1' then
      released[#released + 1] = ids[n]
      done[ids[n]] = true
    end
  end
  if #released > 0 then redis.call('ZREM', leases, unpack(released)) end
  trim()
  return table.concat(verdicts)
end
