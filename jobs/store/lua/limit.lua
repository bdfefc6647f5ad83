#!lua flags=allow-oom
-- Sets the rules of limits; whatever a limit blocks is looked at again by the next step.
-- keys: limits turns blocked alarms config wake
-- args: now:int ageing:int rest:list
--   ageing: ms by which each priority comes later, 0 for none; -1 leaves it as it is
--   rest, two a scope: its name, its rules ('' takes them away)
-- returns: how many scopes have other rules than before
-- include: time wake
local MOST = 1000
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
-- whatever stands aside by now may do so for other reasons: it has turns again, and that is found out
-- when they come; of very many the gates are looked at first
local first = redis.call('ZRANGE', blocked, 0, MOST - 1)
for _, member in ipairs(first) do
  local at = string.find(member, '\1', 1, true)
  local turn, group = struct.unpack('>d', member, at + 1), string.sub(member, at + 9)
  if redis.call('ZSCORE', turns, group) == 'inf' then
    redis.call('ZADD', turns, string.format('%.17g', turn), group)
  end
end
if #first > 0 then redis.call('ZREM', blocked, unpack(first)) end
local from = '-'
for _ = 1, MOST do
  local member = redis.call('ZRANGEBYLEX', blocked, from, '+', 'LIMIT', 0, 1)[1]
  if not member then break end
  local gate = string.match(member, '^[^\1]*')
  redis.call('ZADD', alarms, now, gate)
  from = '(' .. gate .. '\1\255'
end
ring()
return changed
