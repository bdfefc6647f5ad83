-- what a job holds beside its place: its unique key until it ends, and places of limits while it runs
-- All of it is noted, and written once by `write_freed` at the end
local freed = {keys = {}, places = {}, shared = {}, gates = {}}
local function free_gate(gate, id)
  if string.sub(gate, 1, 2) == 's:' then
    freed.shared[#freed.shared + 1] = gate .. '\1' .. holding .. '\1' .. id
  else
    freed.places[#freed.places + 1] = gate .. '\1' .. id
  end
  freed.gates[gate] = true
end
-- the next step looks at a gate that has a place again: only it knows how many there are
local function write_places()
  if #freed.places > 0 then redis.call('ZREM', holding, unpack(freed.places)) end
  if #freed.shared > 0 then redis.call('ZREM', shared_holding, unpack(freed.shared)) end
  if not next(freed.gates) or redis.call('ZCARD', blocked) == 0 then return end
  local opened = {}
  for gate in pairs(freed.gates) do
    if redis.call('ZRANGEBYLEX', blocked, '[' .. gate .. '\1', '(' .. gate .. '\2', 'LIMIT', 0, 1)[1] then
      opened[#opened + 1] = now
      opened[#opened + 1] = gate
    end
  end
  if #opened > 0 then redis.call('ZADD', alarms, unpack(opened)) end
end
-- a job that was to follow another one, and ends before it, gives the key back
local function write_keys()
  local names = {}
  for n, key in ipairs(freed.keys) do names[n] = key.own end
  local owners, times = redis.call('HMGET', unique, unpack(names)), redis.call('ZMSCORE', uniques, unpack(names))
  local gone, timed, seen = {}, {}, {}
  for n, key in ipairs(freed.keys) do
    local is_over = not times[n] or tonumber(times[n]) <= now
    if owners[n] == key.id and is_over and not seen[key.own] then
      seen[key.own] = true
      local gate = 'u:' .. key.own .. '\1'
      local first = key.follows and redis.call('ZRANGEBYLEX', holding, '[' .. gate, '(u:' .. key.own .. '\2', 'LIMIT', 0, 1)[1]
      if first then
        redis.call('HSET', unique, key.own, string.sub(first, #gate + 1))
      else
        gone[#gone + 1] = key.own
        if times[n] then timed[#timed + 1] = key.own end
      end
    end
  end
  if #gone == 0 then return end
  redis.call('HDEL', unique, unpack(gone))
  if #timed > 0 then redis.call('ZREM', uniques, unpack(timed)) end
end
local function write_freed()
  write_places()
  if #freed.keys > 0 then write_keys() end
  freed = {keys = {}, places = {}, shared = {}, gates = {}}
end
-- gives up what a job holds, and returns its record without: all of it when it ends or leaves the
-- queue. Until then it keeps its place in an order (`o:`) and before a follower (`u:`), and waits by
-- itself: in its group it could stand behind those that wait for it
local function let_go(id, packed, ends)
  local group, key, own, gates = flow_of(packed)
  if ends and own ~= '' then freed.keys[#freed.keys + 1] = {own = own, id = id, follows = string.sub(gates, 1, 2) == 'n\0'} end
  if gates == '' then return packed end
  if ends then
    for gate in string.gmatch(gates, '[^%z]+') do
      if gate ~= 'n' then free_gate(gate, id) end
    end
    return string.sub(packed, 1, #packed - #gates)
  end
  local left = {}
  for gate in string.gmatch(gates, '[^%z]+') do
    local kind = string.sub(gate, 1, 2)
    if gate ~= 'n' and kind ~= 'o:' and kind ~= 'u:' then
      free_gate(gate, id)
    else
      left[#left + 1] = gate .. '\0'
      if gate ~= 'n' then group = '' end
    end
  end
  return string.sub(packed, 1, RECORD_BYTES) .. table.concat({group, key, own, table.concat(left)}, '\0')
end
