-- ends attempts; each ack is three arguments: id, facts, history line
local ACK_FIELDS = 3
local FACTS = '>dc1dHdH'
local VERBS = {c = 'completed', f = 'failed', x = 'cancelled', e = 'expired'}
local COUNTERS = {i = 'interrupted', p = 'parked', r = 'retried', s = 'snoozed', l = 'limited'}
local function postpone(id, delay, fields)
  local priority, token, failures, losses, interruptions, flags, sequence, tail = unpack(fields)
  redis.call('ZADD', later, now + delay, late(sequence, id))
  tell('delayed', id, text_of(now + delay))
  return pack_record(priority, token, failures, losses, interruptions, flags, sequence, now + delay, 0, tail)
end
local function requeue(id, line, packed, verb, delay, of)
  if #packed > RECORD_BYTES then packed = let_go(id, packed, false) end
  local priority, token, failures, losses, interruptions, flags, sequence, available = unpack_record(packed)
  local tail = tail_of(packed)
  append_line(id, line)
  flags = bit.bor(flags, HAS_HISTORY)
  if verb == 'i' or verb == 's' or verb == 'l' then interruptions = math.min(65535, interruptions + 1) end
  count(COUNTERS[verb], 1, of)
  if verb == 'i' or verb == 'p' or verb == 'l' then
    if verb == 'l' then
      closed_ms = now + delay
      redis.call('HSET', config, 'closed', text_of(closed_ms))
    end
    packed = pack_record(priority, token, failures, losses, interruptions, flags, sequence, available, 0, tail)
    if verb == 'p' then
      redis.call('ZADD', parked, now, id)
    else
      line_up(id, packed)
    end
    tell(verb == 'p' and 'parked' or 'waiting', id, line)
  else
    if verb == 'r' then
      failures = failures + 1
      tell('failed', id, line)
    end
    packed = postpone(id, delay, {priority, token, failures, losses, interruptions, flags, sequence, tail})
  end
  redis.call('HSET', record, id, packed)
end
local function ack(first, packed, policies, functions)
  local id, line = ARGV[first], ARGV[first + 2]
  local claimed, verb, delay, policy, ran, at = struct.unpack(FACTS, ARGV[first + 1])
  local of = functions[at]
  local priority, token, failures, losses, interruptions, flags, sequence, available, size = unpack_record(packed)
  if token ~= claimed then return '0' end
  local state = VERBS[verb]
  if verb == 'u' then
    if #packed > RECORD_BYTES then
      packed = let_go(id, packed, false)
      redis.call('HSET', record, id, packed)
    end
    line_up(id, packed)
  elseif state then
    if verb == 'f' then
      packed = pack_record(priority, token, failures + 1, losses, interruptions, flags, sequence, available, size, tail_of(packed))
      tell('retries-exhausted', id, line)
    end
    local age, most, most_bytes = unpack(policies[policy])
    finish(state, id, line, bit.band(flags, HAS_HISTORY) == 0, packed, age, most, most_bytes)
    count(state, 1, of)
    tell(state, id, line)
  else
    requeue(id, line, packed, verb, delay, of)
  end
  if ran >= 0 then bucket('run', ran, of) end
  return '1'
end
local function ack_all(first, last, policies, functions)
  local ids, verdicts, released, done = {}, {}, {}, {}
  for i = first, last, ACK_FIELDS do ids[#ids + 1] = ARGV[i] end
  if #ids == 0 then return '' end
  local packed = redis.call('HMGET', record, unpack(ids))
  local held = redis.call('ZMSCORE', leases, unpack(ids))
  for n = 1, #ids do
    local at = first + (n - 1) * ACK_FIELDS
    local mine = packed[n] and held[n] and not done[ids[n]]
    verdicts[n] = mine and ack(at, packed[n], policies, functions) or '0'
    if verdicts[n] == '1' then
      released[#released + 1] = ids[n]
      done[ids[n]] = true
    end
  end
  if #released > 0 then redis.call('ZREM', leases, unpack(released)) end
  trim()
  return table.concat(verdicts)
end
