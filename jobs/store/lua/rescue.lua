#!lua flags=allow-oom
-- Takes jobs back from workers that were seen not to renew: to `ready`, or to `failed` as poison.
-- keys: ready leases body record result completed failed cancelled expired expiry config stats waiters wake
-- args: now:int most_losses:int age:int most:int most_bytes:int line:str rest:list
--   age, most, most_bytes: retention of failed jobs; line: the history line of a lost delivery
--   rest, two a job: id, the deadline that was seen
-- returns: one character a job: 0 renewed or ended meanwhile, 1 waiting again, 2 failed, 3 cancelled
-- include: time record wake count drop keep
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
    packed = pack_record(priority, token, failures, losses, interruptions, flags, sequence, available, size)
    redis.call('HSET', record, id, packed)
    count('lost', 1)
    if bit.band(flags, CANCEL_ASKED) > 0 then
      verdict = '3'
      finish('cancelled', id, line, false, packed, age, most, most_bytes)
      count('cancelled', 1)
    elseif losses >= most_losses then
      verdict = '2'
      finish('failed', id, line, false, packed, age, most, most_bytes)
      count('failed', 1)
    else
      verdict = '1'
      append_line(id, line)
      redis.call('ZADD', ready, priority * SPAN + sequence, id)
      ring()
    end
  end
  verdicts[#verdicts + 1] = verdict
end
trim()
write_counts()
return table.concat(verdicts)
