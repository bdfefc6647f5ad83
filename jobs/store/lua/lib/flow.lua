-- what a job holds beside its place: its unique key until it ends, and places of limits while it runs
-- a job that was to follow another one, and ends before it, gives the key back
local function free_key(own, id, follows)
  if own == '' or redis.call('HGET', unique, own) ~= id then return end
  local until_ms = tonumber(redis.call('ZSCORE', uniques, own) or '0')
  if until_ms ~= math.huge and until_ms > now then return end
  local gate = 'u:' .. own .. '\1'
  local first = follows and redis.call('ZRANGEBYLEX', holding, '[' .. gate, '(u:' .. own .. '\2', 'LIMIT', 0, 1)[1]
  if first then
    redis.call('HSET', unique, own, string.sub(first, #gate + 1))
  else
    redis.call('HDEL', unique, own)
    redis.call('ZREM', uniques, own)
  end
end
-- the next step looks at a gate that has a place again: only it knows how many there are
local function free_gate(gate, id)
  if string.sub(gate, 1, 2) == 's:' then
    redis.call('ZREM', shared_holding, gate .. '\1' .. holding .. '\1' .. id)
  else
    redis.call('ZREM', holding, gate .. '\1' .. id)
  end
  if redis.call('ZRANGEBYLEX', blocked, '[' .. gate .. '\1', '(' .. gate .. '\2', 'LIMIT', 0, 1)[1] then
    redis.call('ZADD', alarms, now, gate)
  end
end
-- gives up what a job holds, and returns its record without: all of it when it ends or leaves the
-- queue. Until then it keeps its place in an order (`o:`) and before a follower (`u:`), and waits by
-- itself: in its group it could stand behind those that wait for it
local function let_go(id, packed, ends)
  local group, key, own, gates = flow_of(packed)
  local left = {}
  for gate in string.gmatch(gates, '[^%z]+') do
    local kind = string.sub(gate, 1, 2)
    if gate ~= 'n' and (ends or (kind ~= 'o:' and kind ~= 'u:')) then
      free_gate(gate, id)
    elseif not ends then
      left[#left + 1] = gate .. '\0'
      if gate ~= 'n' then group = '' end
    end
  end
  if ends then free_key(own, id, string.sub(gates, 1, 2) == 'n\0') end
  if gates == '' then return packed end
  return string.sub(packed, 1, RECORD_BYTES) .. table.concat({group, key, own, table.concat(left)}, '\0')
end
