-- limits: a gate lets so many jobs run at once, or start in a time. What cannot pass waits aside, in a
-- group that has no turn until the gate opens, so it holds no slot and hides nothing behind it
local UNLIMITED = math.huge
local SHARED_LOOK = 250
local DIVERTED = 1000
local rules, free, known, opens, shut = nil, {}, {}, {}, {}
local function rule_of(text)
  local kind, limit, period, name = string.match(text, '^(%a)(%d*)/?(%d*)@?(.*)$')
  return {kind = kind, limit = kind == 'o' and 1 or tonumber(limit), period = tonumber(period), shared = name ~= '' and name}
end
local function read_rules()
  rules = {}
  local flat = redis.call('HGETALL', limits)
  for i = 1, #flat, 2 do
    local scope = flat[i]
    if string.sub(scope, 1, 2) == 'p:' then
      shut['f:' .. string.sub(scope, 3)] = true
    else
      for text in string.gmatch(flat[i + 1], '%S+') do
        local rule = rule_of(text)
        local at = rule.shared and 's:' .. rule.shared or scope
        rules[at] = rules[at] or {}
        if rule.shared then
          rules[scope] = rules[scope] or {}
          rules[scope].names = rules[scope].names or {}
          rules[scope].names[at] = true
        end
        rules[at][#rules[at] + 1] = rule
      end
    end
  end
end
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
local function rules_of(gate)
  local kind, rest = string.match(gate, '^(%a+):(.*)$')
  if kind == 'k' then return rules.k or {} end
  if kind == 'fk' then return rules['fk:' .. string.match(rest, '^[^\2]*')] or {} end
  if kind == 'u' or kind == 'o' then return {{kind = 'c', limit = 1}} end
  return rules[gate] or {}
end
local function in_window(gate, rule)
  local set, last = rule.shared and shared_starts or starts, '(' .. gate .. '\2'
  local first = '[' .. gate .. '\1' .. struct.pack('>d', now - rule.period + 1)
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
    opens[gate] = math.max(opens[gate] or 0, now + SHARED_LOOK)
  end
  return rule.limit - redis.call('ZLEXCOUNT', set, first, '(' .. gate .. '\2')
end
-- starts are forgotten when no rule of their gate counts them any more
local function forget_starts(gate, mine)
  local longest, shared = 0, false
  for _, rule in ipairs(mine) do
    if rule.kind == 'r' then longest, shared = math.max(longest, rule.period), rule.shared end
  end
  if longest == 0 then return end
  local set = shared and shared_starts or starts
  redis.call('ZREMRANGEBYLEX', set, '[' .. gate .. '\1',
    '(' .. gate .. '\1' .. struct.pack('>d', now - longest + 1))
end
local function places(gate, mine)
  if free[gate] then return free[gate] end
  forget_starts(gate, mine)
  local left = shut[gate] and 0 or UNLIMITED
  for _, rule in ipairs(mine) do
    if rule.kind ~= 'o' then
      left = math.min(left, rule.kind == 'r' and in_window(gate, rule) or beside(gate, rule))
    end
  end
  free[gate], known[gate] = left, mine
  return left
end
-- the order of a key is a gate of its own, which a job keeps while it waits for its next attempt
local function order_gate(gate, mine)
  for _, rule in ipairs(mine) do
    if rule.kind == 'o' then return 'o:' .. string.match(gate, ':(.*)$') end
  end
end
local function closed_gate(id, gates, marked)
  for gate, mine in pairs(gates) do
    if places(gate, mine) <= 0 then return gate end
    local order = order_gate(gate, mine)
    if order and not string.find(marked, order .. '\0', 1, true) and places(order, {{kind = 'c', limit = 1}}) <= 0 then
      return order
    end
  end
end
local function pass(gates, marked)
  local held, rated = {}, {}
  for gate in string.gmatch(marked, '[^%z]+') do
    if string.sub(gate, 1, 2) == 'u:' then held[1] = gate end
  end
  for gate, mine in pairs(gates) do
    free[gate] = free[gate] - 1
    local order = order_gate(gate, mine)
    if order then
      held[#held + 1] = order
      if not string.find(marked, order .. '\0', 1, true) then free[order] = free[order] - 1 end
    end
    local counts_places
    for _, rule in ipairs(mine) do
      if rule.kind == 'r' then rated[gate] = true end
      if rule.kind == 'c' then counts_places = true end
    end
    if counts_places then held[#held + 1] = gate end
  end
  return held, rated
end
-- when a rate may open that this call has used up: when the oldest start that it counts is forgotten
local function next_opening(gate)
  local first
  for _, rule in ipairs(known[gate] or {}) do
    if rule.kind == 'r' then
      local set = rule.shared and shared_starts or starts
      local from = '[' .. gate .. '\1' .. struct.pack('>d', now - rule.period + 1)
      local oldest = redis.call('ZRANGEBYLEX', set, from, '(' .. gate .. '\2', 'LIMIT', 0, 1)[1]
      local at = (oldest and struct.unpack('>d', oldest, #gate + 2) or now) + rule.period
      first = math.min(first or at, at)
    end
  end
  return first
end
local function alarm(gate)
  if shut[gate] then return end
  opens[gate] = opens[gate] or next_opening(gate)
  if opens[gate] then redis.call('ZADD', alarms, 'LT', text_of(opens[gate]), gate) end
end
local function block(group, turn, gate)
  redis.call('ZADD', turns, 'inf', group)
  redis.call('ZADD', blocked, 0, gate .. '\1' .. struct.pack('>d', turn) .. group)
  alarm(gate)
end
local function is_aside(group, gate)
  return string.sub(group, 1, #gate + 1) == gate .. '\2'
end
-- opens the gates whose time has come
local function look_at_alarms()
  for _, gate in ipairs(redis.call('ZRANGEBYSCORE', alarms, '-inf', now, 'LIMIT', 0, 100)) do
    redis.call('ZREM', alarms, gate)
    local left = places(gate, rules_of(gate))
    if left > 0 then open_gate(gate, math.min(left, 100)) end
  end
end
-- after a claim: gates that are still open let others in, and the next opening of a rate is noted
local function settle_gates()
  local opened = 0
  if redis.call('ZCARD', blocked) == 0 then return 0 end
  for gate, left in pairs(free) do
    if left > 0 then opened = opened + open_gate(gate, math.min(left, 100)) end
    local more = redis.call('ZLEXCOUNT', blocked, '[' .. gate .. '\1', '(' .. gate .. '\2') > 0
    if more and left > 0 then opens[gate] = now end
    if more then alarm(gate) end
  end
  return opened
end
-- how many jobs the limits of the whole queue allow now; ms until they allow more (-1: when one ends)
local function queue_places(want)
  local mine = rules.q
  if not mine then return want, -1 end
  local wait = -1
  forget_starts('q', mine)
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
