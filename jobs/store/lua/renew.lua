#!lua flags=allow-oom
-- Extends the leases that are still the caller's.
-- keys: leases record
-- args: now:int lease_ms:int rest:list
--   rest, two a job: id, token
-- returns: one character a job: 1 extended, 0 lost, 2 extended and asked to stop
-- include: time record
local ids, verdicts, extended = {}, {}, {}
for i = rest, #ARGV, 2 do ids[#ids + 1] = ARGV[i] end
local packed = redis.call('HMGET', record, unpack(ids))
local held = redis.call('ZMSCORE', leases, unpack(ids))
for n = 1, #ids do
  verdicts[n] = '0'
  if packed[n] and held[n] then
    local _, token, _, _, _, flags = unpack_record(packed[n])
    if token == tonumber(ARGV[rest + 2 * n - 1]) then
      verdicts[n] = bit.band(flags, CANCEL_ASKED) > 0 and '2' or '1'
      extended[#extended + 1] = now + lease_ms
      extended[#extended + 1] = ids[n]
    end
  end
end
if #extended > 0 then redis.call('ZADD', leases, 'XX', unpack(extended)) end
return table.concat(verdicts)
