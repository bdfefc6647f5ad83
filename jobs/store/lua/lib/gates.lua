-- limits: a gate lets so many jobs run at once, or start in a time. What cannot pass waits aside, in a
-- group that has no turn until the gate opens, so it holds no slot and hides nothing behind it.
-- Starts that no rule counts any more are harmless: they are removed in one of 16 ms, not in each call
local UNLIMITED = math.huge
local SHARED_LOOK = 250
local DIVERTED = 1000
local LOOKED_AT = 300
local FORGETS = now % 16 == 0
local free, known, opens = {}, {}, {}
-- the gates of one scope for one job: name -> rules
local function add_gates(gates, scope, name)
  local mine = rules[scope]
  if shut[name] then gates[name] = mine or {} end
  if not mine then return end
  if #mine > 0 then gates[name] = mine end
  for shared in pairs(mine.names or {}) do gates[shared] = rules[shared] end
end
-- the rates of the whole queue, which count every start; its places are those of all leases
local function add_queue_rates(gates)
  local rates = {}
  for _, rule in ipairs(rules.q) do if rule.kind == 'r' then rates[#rates + 1] = rule end end
  if #rates > 0 then gates.q = rates end
  for shared in pairs(rules.q.names or {}) do gates[shared] = rules[shared] end
end
local function gates_of(of, key, own, marked)
  local gates = {}
  if rules.q then add_queue_rates(gates) end
  add_gates(gates, 'f:' .. of, 'f:' .. of)
  if key ~= '' then
    add_gates(gates, 'k', 'k:' .. key)
    add_gates(gates, 'fk:' .. of, 'fk:' .. of .. '\2' .. key)
  end
  if string.find(marked, '^n%z') then gates['u:' .. own] = {{kind = 'c', limit = 1}} end
  return gates
end
local function in_window(gate, rule)
  local set, last = rule.shared and shared_starts or starts, '(' .. gate .. '\2'
  rule.since = rule.since or struct.pack('>d', now - rule.period + 1)
  local first = '[' .. gate .. '\1' .. rule.since
  local number = redis.call('ZLEXCOUNT', set, first, last)
  if number < rule.limit then return rule.limit - number end
  local oldest = redis.call('ZRANGEBYLEX', set, first, last, 'LIMIT', number - rule.limit, 1)[1]
  opens[gate] = math.max(opens[gate] or 0, struct.unpack('>d', oldest, #gate + 2) + rule.period)
  return 0
end
local function beside(gate, rule)
  local set, first = rule.shared and shared_holding or holding, '[' .. gate .. '\1'
  if rule.shared then
    redis.call('ZREMRANGEBYLEX', set, first .. '\1', '(' .. gate .. '\1\1' .. struct.pack('>d', now))
  end
  local left = rule.limit - redis.call('ZLEXCOUNT', set, first, '(' .. gate .. '\2')
  if rule.shared and left <= 0 then opens[gate] = math.max(opens[gate] or 0, now + SHARED_LOOK) end
  return left
end
local function places(gate, mine)
  if free[gate] then return free[gate] end
  if FORGETS then forget_starts(gate, mine) end
  local left = shut[gate] and 0 or UNLIMITED
  for _, rule in ipairs(mine) do
    if rule.kind ~= 'o' then
      left = math.min(left, rule.kind == 'r' and in_window(gate, rule) or beside(gate, rule))
    end
  end
  free[gate], known[gate] = left, mine
  return left
end
local function holds(marked, gate)
  return string.find('\0' .. marked, '\0' .. gate .. '\0', 1, true) ~= nil
end
-- when a rate may open that this call has used up: when the oldest start that it counts is forgotten;
-- of the ends of another queue's jobs nobody tells this one
local function next_opening(gate)
  local first
  for _, rule in ipairs(known[gate] or {}) do
    if rule.kind == 'c' and rule.shared then first = math.min(first or math.huge, now + SHARED_LOOK) end
    if rule.kind == 'r' then
      local set = rule.shared and shared_starts or starts
      local from = '[' .. gate .. '\1' .. rule.since
      local oldest = redis.call('ZRANGEBYLEX', set, from, '(' .. gate .. '\2', 'LIMIT', 0, 1)[1]
      local at = (oldest and struct.unpack('>d', oldest, #gate + 2) or now) + rule.period
      first = math.min(first or at, at)
    end
  end
  return first
end
local function block(group, turn, gate)
  redis.call('ZADD', turns, 'inf', group)
  redis.call('ZADD', blocked, 0, gate .. '\1' .. struct.pack('>d', turn) .. group)
end
local function is_aside(group, gate)
  return string.sub(group, 1, #gate + 1) == gate .. '\2'
end
-- lets groups in that a gate kept out: they have turns again, and whether they may start is found
-- when it is their turn. Members of groups that are not there any more count for nothing
local function open_gate(gate, most)
  local opened = 0
  while opened < most do
    local waiting = redis.call('ZRANGEBYLEX', blocked, '[' .. gate .. '\1', '(' .. gate .. '\2', 'LIMIT', 0, most - opened)
    if #waiting == 0 then break end
    redis.call('ZREM', blocked, unpack(waiting))
    for _, member in ipairs(waiting) do
      local turn, group = struct.unpack('>d', member, #gate + 2), string.sub(member, #gate + 10)
      if redis.call('ZSCORE', turns, group) == 'inf' then
        redis.call('ZADD', turns, string.format('%.17g', turn), group)
        opened = opened + 1
      end
    end
  end
  return opened
end
local function open_gates()
  local opened = 0
  if redis.call('ZCARD', blocked) == 0 then return 0 end
  for gate, left in pairs(free) do
    if left > 0 then opened = opened + open_gate(gate, math.min(left, 100)) end
  end
  return opened
end
-- looks at the gates whose time has come
local function look_at_alarms()
  local due = redis.call('ZRANGEBYSCORE', alarms, '-inf', now, 'LIMIT', 0, LOOKED_AT)
  if #due == 0 then return end
  redis.call('ZREM', alarms, unpack(due))
  for _, gate in ipairs(due) do places(gate, rules_of(gate)) end
  open_gates()
end
-- notes when the gates are to be looked at again: a rate at its next opening, an open gate with groups
-- behind it at once, as those that were let in may be gone when their turn comes
local function note_alarms()
  if redis.call('ZCARD', blocked) == 0 then return end
  local times = {}
  for gate, left in pairs(free) do
    if redis.call('ZRANGEBYLEX', blocked, '[' .. gate .. '\1', '(' .. gate .. '\2', 'LIMIT', 0, 1)[1] then
      local at = left > 0 and now or not shut[gate] and (opens[gate] or next_opening(gate))
      if at then
        times[#times + 1] = text_of(at)
        times[#times + 1] = gate
      end
    end
  end
  if #times > 0 then redis.call('ZADD', alarms, 'LT', unpack(times)) end
end
-- how many jobs the limits of the whole queue allow now; ms until they allow more (-1: when one ends)
local function queue_places(want)
  local mine = rules.q
  if not mine then return want, -1 end
  local wait = -1
  if FORGETS then forget_starts('q', mine) end
  for _, rule in ipairs(mine) do
    local left
    if rule.kind == 'c' then
      left = rule.limit - redis.call('ZCARD', leases)
    elseif rule.kind == 'r' then
      left = in_window('q', rule)
      if left <= 0 then wait = opens.q - now end
    end
    want = math.min(want, left or want)
  end
  for shared in pairs(mine.names or {}) do
    want = math.min(want, places(shared, rules[shared]))
    if places(shared, rules[shared]) <= 0 then wait = math.max(wait, opens[shared] - now) end
  end
  return math.max(0, want), wait
end
