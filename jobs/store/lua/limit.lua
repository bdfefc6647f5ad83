#!lua flags=allow-oom
-- Sets the rules of limits; whatever a limit blocks is looked at again by the next step.
-- keys: limits blocked alarms config wake
-- args: now:int ageing:int rest:list
--   ageing: ms by which each priority comes later, 0 for none; -1 leaves it as it is
--   rest, two a scope: its name, its rules ('' takes them away)
-- returns: how many scopes have other rules than before
-- include: time wake
local MOST_GATES = 1000
local changed = 0
for i = rest, #ARGV, 2 do
  local before = redis.call('HGET', limits, ARGV[i]) or ''
  if before ~= ARGV[i + 1] then
    changed = changed + 1
    if ARGV[i + 1] == '' then
      redis.call('HDEL', limits, ARGV[i])
    else
      redis.call('HSET', limits, ARGV[i], ARGV[i + 1])
    end
  end
end
if redis.call('HLEN', limits) > 0 then redis.call('HSET', config, 'flow', 1) end
if ageing > 0 then redis.call('HSET', config, 'ageing', ageing) end
if ageing == 0 then redis.call('HDEL', config, 'ageing') end
if changed == 0 then return 0 end
local from = '-'
for _ = 1, MOST_GATES do
  local member = redis.call('ZRANGEBYLEX', blocked, from, '+', 'LIMIT', 0, 1)[1]
  if not member then break end
  local gate = string.match(member, '^[^\1]*')
  redis.call('ZADD', alarms, now, gate)
  from = '(' .. gate .. '\1\255'
end
ring()
return changed
