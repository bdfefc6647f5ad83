-- what a job passes when it starts: the gates before the jobs of one function and key, found once a call
local ONE = {{kind = 'c', limit = 1}}
local ways = {}
local function new_way(gates)
  local way = {gates = {}, held = {}, rated = {}, has_order = false}
  for name, mine in pairs(gates) do
    local gate = {name = name, rules = mine, order = order_gate(name, mine)}
    local counts_starts
    for _, rule in ipairs(mine) do
      if rule.kind == 'r' then counts_starts = true end
      if rule.kind == 'c' then gate.counts_places = true end
    end
    if gate.counts_places then way.held[#way.held + 1] = name end
    if counts_starts then way.rated[#way.rated + 1] = name end
    way.has_order = way.has_order or gate.order ~= nil
    way.gates[#way.gates + 1] = gate
  end
  return way
end
local function way_of(of, key, own, marked)
  if string.sub(marked, 1, 2) == 'n\0' then return new_way(gates_of(of, key, own, marked)) end
  local mine = within(ways, of)
  mine[key] = mine[key] or new_way(gates_of(of, key, own, marked))
  return mine[key]
end
-- the gate at which a job must wait, and the order that it must keep there. All gates are looked at:
-- those that are open are for others then (see open_gates)
local function closed_gate(way, marked)
  local closed, first
  for n = 1, #way.gates do
    local gate = way.gates[n]
    if places(gate.name, gate.rules) <= 0 then closed = gate.name end
    local order = gate.order
    if order and not holds(marked, order) then
      if places(order, ONE) <= 0 then closed = closed or order end
      if not first or string.sub(gate.name, 1, 2) == 'k:' then first = order end
    end
  end
  return closed, first
end
-- takes the job's places, and tells whose: those of the gates, and those that it has kept (see let_go)
local function pass(way, marked)
  for n = 1, #way.gates do
    local name = way.gates[n].name
    free[name] = free[name] - 1
  end
  if marked == '' and not way.has_order then return way.held end
  local held = {}
  for gate in string.gmatch(marked, '[^%z]+') do
    if gate ~= 'n' then held[#held + 1] = gate end
  end
  for _, gate in ipairs(way.gates) do
    local order = gate.order
    if order and not holds(marked, order) then
      held[#held + 1] = order
      free[order] = free[order] - 1
    end
    if gate.counts_places then held[#held + 1] = gate.name end
  end
  return held
end
-- the tail of a record whose job had kept the gates `marked`, and holds these now
local function tail_with(packed, marked, held)
  local tail, gates = tail_of(packed), ''
  if #held > 0 then gates = table.concat(held, '\0') .. '\0' end
  if tail ~= '' then return string.sub(tail, 1, #tail - #marked) .. gates end
  return gates ~= '' and '\0\0\0' .. gates or ''
end
-- notes what the chosen jobs hold, now that their tokens are known
local function hold(jobs, tokens)
  local mine, shared, times, shared_times = {}, {}, {}, {}
  for n = 1, #jobs do
    local job = jobs[n]
    for i = 1, #job.held do
      local gate = job.held[i]
      local is_shared = string.sub(gate, 1, 2) == 's:'
      local set = is_shared and shared or mine
      local at = #set
      set[at + 1], set[at + 2] = 0, gate .. '\1' .. (is_shared and holding .. '\1' or '') .. job.id
    end
    for i = 1, #job.rated do
      local gate = job.rated[i]
      local is_shared = string.sub(gate, 1, 2) == 's:'
      local set = is_shared and shared_times or times
      local at = #set
      set[at + 1], set[at + 2] = 0, gate .. '\1' .. struct.pack('>dd', now, tokens[n]) .. (is_shared and holding or '')
    end
  end
  for set, pairs_of in pairs({[holding] = mine, [shared_holding] = shared, [starts] = times, [shared_starts] = shared_times}) do
    for at = 1, #pairs_of, 1000 do redis.call('ZADD', set, unpack(pairs_of, at, math.min(at + 999, #pairs_of))) end
  end
end
