#!lua flags=no-writes
-- Tells at one moment everything that may keep a job from running.
-- keys: ready grouped turns blocked alarms holding starts limits later leases body record result completed failed cancelled expired parked config workers shared_holding shared_starts
-- args: now:int id:str
-- returns: now, state ('' if unknown), score, body, record, result, the workers (name, entry …), and a JSON
--   document: `paused`, `closed`, `function_paused`, `active` (some ids), `gates`, and for a waiting job
--   `ahead`, `groups`, `place` in its group, the `turn` of the group and its `first` job and its `gate`
-- include: time record state place rules gates
local MOST_NAMED, MOST_BLOCKED = 10, 1000
local function holders_of(set, gate)
  local names = {}
  local first, last = '[' .. gate .. '\1', '(' .. gate .. '\2'
  for _, member in ipairs(redis.call('ZRANGEBYLEX', set, first, last, 'LIMIT', 0, MOST_NAMED)) do
    local holder = string.sub(member, #gate + 2)
    if string.sub(holder, 1, 1) ~= '\1' then names[#names + 1] = string.match(holder, '[^\1]*$') end
  end
  return redis.call('ZLEXCOUNT', set, first, last), names
end
local function look_at(gate, rule)
  local told = {gate = gate, kind = rule.kind, limit = rule.limit, period = rule.period}
  if rule.kind == 'r' then
    local left = in_window(gate, rule)
    told.used = rule.limit - left
    if left <= 0 then told.opens = opens[gate] end
  elseif gate == 'q' then
    told.used = redis.call('ZCARD', leases)
    told.holders = redis.call('ZRANGE', leases, 0, MOST_NAMED - 1)
  else
    told.used, told.holders = holders_of(rule.shared and shared_holding or holding, gate)
  end
  return told
end
local function gates_with_order(name, packed)
  local _, key, own, marked = flow_of(packed)
  local gates = gates_of(name, key, own, marked)
  local orders = {}
  for gate, mine in pairs(gates) do
    local order = order_gate(gate, mine)
    if order then orders[order] = {{kind = 'o', limit = 1}} end
  end
  for order, mine in pairs(orders) do gates[order] = mine end
  if rules.q then gates.q = rules.q end
  return gates
end
local function look_at_gates(name, packed)
  local told = {}
  for gate, mine in pairs(gates_with_order(name, packed)) do
    for _, rule in ipairs(mine) do
      local is_order = string.sub(gate, 1, 2) == 'o:'
      if rule.kind ~= 'o' or is_order then told[#told + 1] = look_at(gate, rule) end
    end
  end
  return told
end
-- the gate for which a group waits without a turn
local function gate_of(group, gates)
  for gate in pairs(gates) do
    local first, last = '[' .. gate .. '\1', '(' .. gate .. '\2'
    for _, member in ipairs(redis.call('ZRANGEBYLEX', blocked, first, last, 'LIMIT', 0, MOST_BLOCKED)) do
      if string.sub(member, #gate + 10) == group then return gate end
    end
  end
end
local function look_at_group(told, group, member)
  told.group = group
  told.place = redis.call('ZLEXCOUNT', grouped, '[' .. group .. '\1', '(' .. member)
  told.groups = redis.call('ZCARD', turns)
  local turn = redis.call('ZSCORE', turns, group)
  local head = first_of(group, 1)[1]
  told.first = head and string.sub(head, #group + 10)
  if turn and turn ~= 'inf' then
    told.before = redis.call('ZCOUNT', ready, '-inf', '(' .. turn) + redis.call('ZCOUNT', turns, '-inf', '(' .. turn)
  elseif head then
    local stored, packed = redis.call('HGET', body, told.first), redis.call('HGET', record, told.first)
    told.gate = gate_of(group, gates_with_order(function_of(stored), packed))
  end
end
local function look_at_place(told, name, score, zset, packed)
  told.size = redis.call('ZCARD', ready) + redis.call('ZCARD', grouped)
  if zset == grouped then
    look_at_group(told, string.match(name, '^[^\1]*'), name)
  else
    told.before = redis.call('ZRANK', ready, name) + redis.call('ZCOUNT', turns, '-inf', '(' .. score)
  end
end
local state, name, score, zset = state_of(id)
if not state then return {now, ''} end
local stored, packed = redis.call('HGET', body, id), redis.call('HGET', record, id)
local called = function_of(stored)
local told = {
  active = redis.call('ZCARD', leases), running = redis.call('ZRANGE', leases, 0, MOST_NAMED - 1),
  paused = redis.call('HGET', config, 'paused'), closed = redis.call('HGET', config, 'closed'),
  function_paused = redis.call('HGET', limits, 'p:' .. called)}
read_rules()
if state == 'waiting' or state == 'delayed' then told.gates = look_at_gates(called, packed) end
if state == 'waiting' then look_at_place(told, name, score, zset, packed) end
return {now, state, score, stored, packed, redis.call('HGET', result, id),
  redis.call('HGETALL', workers), cjson.encode(told)}
