#!lua flags=allow-oom
-- Takes jobs back from workers that were seen not to renew: to `ready`, or to `failed` as poison.
-- keys: ready grouped turns blocked alarms holding later leases body record result completed failed cancelled expired parked expiry config unique uniques progress logs stats events waiters wake shared_holding
-- args: now:int most_losses:int age:int most:int most_bytes:int cancelled_age:int cancelled_most:int cancelled_bytes:int line:str rest:list
--   age, most, most_bytes: retention of failed jobs, and the same of cancelled ones
--   line: the history line of a lost delivery
--   rest, two a job: id, the deadline that was seen
-- returns: one character a job: 0 renewed or ended meanwhile, 1 waiting again, 2 failed, 3 cancelled
-- include: time record tell wake count drop state place flow keep
local verdicts = {}
for i = rest, #ARGV, 2 do
  local id = ARGV[i]
  local verdict = '0'
  local packed = redis.call('HGET', record, id)
  if packed and redis.call('ZSCORE', leases, id) == ARGV[i + 1] then
    local priority, token, failures, losses, interruptions, flags, sequence, available, size = unpack_record(packed)
    losses = losses + 1
    flags = bit.bor(flags, HAS_HISTORY)
    redis.call('ZREM', leases, id)
    packed = pack_record(priority, token, failures, losses, interruptions, flags, sequence, available, size, tail_of(packed))
    redis.call('HSET', record, id, packed)
    local of = function_of(redis.call('HGET', body, id))
    count('lost', 1, of)
    tell('stalled', id, line)
    if bit.band(flags, CANCEL_ASKED) > 0 then
      verdict = '3'
      finish('cancelled', id, line, false, packed, cancelled_age, cancelled_most, cancelled_bytes)
      count('cancelled', 1, of)
      tell('cancelled', id, line)
    elseif losses >= most_losses then
      verdict = '2'
      finish('failed', id, line, false, packed, age, most, most_bytes)
      count('failed', 1, of)
      tell('failed', id, line)
      tell('retries-exhausted', id, line)
    else
      verdict = '1'
      append_line(id, line)
      if #packed > RECORD_BYTES then
        packed = let_go(id, packed, false)
        redis.call('HSET', record, id, packed)
      end
      line_up(id, packed)
      tell('waiting', id, line)
      ring()
    end
  end
  verdicts[#verdicts + 1] = verdict
end
trim()
write_counts()
write_events()
return table.concat(verdicts)
