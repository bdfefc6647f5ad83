-- what a job holds beside its place: its unique key until it ends, and places of limits while it runs
local function free_key(own, id)
  if own == '' or redis.call('HGET', unique, own) ~= id then return end
  local until_ms = tonumber(redis.call('ZSCORE', uniques, own) or '0')
  if until_ms ~= math.huge and until_ms > now then return end
  redis.call('HDEL', unique, own)
  redis.call('ZREM', uniques, own)
end
local function open_gate(gate, places)
  local waiting = redis.call('ZRANGEBYLEX', blocked, '[' .. gate .. '\1', '(' .. gate .. '\2', 'LIMIT', 0, places)
  if #waiting == 0 then return 0 end
  redis.call('ZREM', blocked, unpack(waiting))
  for _, member in ipairs(waiting) do
    local turn, group = struct.unpack('>d', member, #gate + 2), string.sub(member, #gate + 10)
    if redis.call('ZSCORE', turns, group) == 'inf' then
      redis.call('ZADD', turns, string.format('%.17g', turn), group)
    end
  end
  return #waiting
end
local function free_gate(gate, id)
  if string.sub(gate, 1, 2) == 's:' then
    redis.call('ZREM', shared_holding, gate .. '\1' .. holding .. '\1' .. id)
  else
    redis.call('ZREM', holding, gate .. '\1' .. id)
  end
  open_gate(gate, 1)
end
-- gives up what a job holds, and returns its record without: all of it when it ends or leaves the
-- queue; else the places, but not those of an order (`o:`) or of a follower (`u:`) while it `waits`
local function let_go(id, packed, ends, waits)
  local group, key, own, gates = flow_of(packed)
  local left = {}
  for gate in string.gmatch(gates, '[^%z]+') do
    local kind = string.sub(gate, 1, 2)
    if waits and (kind == 'o:' or kind == 'u:') then
      left[#left + 1] = gate .. '\0'
    else
      free_gate(gate, id)
    end
  end
  if ends then free_key(own, id) end
  if gates == '' then return packed end
  return string.sub(packed, 1, RECORD_BYTES) .. table.concat({group, key, own, table.concat(left)}, '\0')
end
