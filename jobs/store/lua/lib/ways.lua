-- what a job passes when it starts: the gates before it. They are found once a call for the jobs of one
-- function, with keys or without; of each key only the names are made
local ONE, ANY_KEY = {{kind = 'c', limit = 1}}, '\0'
local passages, ways = {}, {}
local function gate_with(name, mine)
  local gate = {name = name, rules = mine, order = order_gate(name, mine), counts_places = false, counts_starts = false}
  for _, rule in ipairs(mine) do
    if rule.kind == 'r' then gate.counts_starts = true end
    if rule.kind == 'c' then gate.counts_places = true end
  end
  return gate
end
local function noted_gates(held)
  return #held > 0 and table.concat(held, '\0') .. '\0' or ''
end
local function new_way(gates)
  local way = {gates = gates, held = {}, rated = {}, has_order = false}
  for n = 1, #gates do
    local gate = gates[n]
    if gate.counts_places then way.held[#way.held + 1] = gate.name end
    if gate.counts_starts then way.rated[#way.rated + 1] = gate.name end
    if gate.order then way.has_order = true end
  end
  way.noted = noted_gates(way.held)
  return way
end
local function list_gates(of, key, own, marked)
  local gates = {}
  for name, mine in pairs(gates_of(of, key, own, marked)) do gates[#gates + 1] = gate_with(name, mine) end
  return gates
end
-- the way of all jobs of a function, with its gates of a key apart from the others: these have a way for each
local function passage_of(of, key)
  local known = within(passages, of)
  local found = known[key]
  if not found then
    found = {common = {}, keyed = {}}
    for _, gate in ipairs(list_gates(of, key, '', '')) do
      local list = key == ANY_KEY and string.sub(gate.name, -1) == ANY_KEY and found.keyed or found.common
      list[#list + 1] = gate
    end
    found.way = #found.keyed == 0 and new_way(found.common)
    known[key] = found
  end
  return found
end
local function with_key(name, key)
  return name and string.sub(name, 1, -2) .. key
end
local function way_of(of, key, own, marked)
  if string.sub(marked, 1, 2) == 'n\0' then return new_way(list_gates(of, key, own, marked)) end
  local passage = passage_of(of, key == '' and '' or ANY_KEY)
  if passage.way then return passage.way end
  local known = within(ways, of)
  if not known[key] then
    local gates = {unpack(passage.common)}
    for n = 1, #passage.keyed do
      local gate = passage.keyed[n]
      gates[#gates + 1] = {name = with_key(gate.name, key), rules = gate.rules, order = with_key(gate.order, key),
        counts_places = gate.counts_places, counts_starts = gate.counts_starts}
    end
    known[key] = new_way(gates)
  end
  return known[key]
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
-- takes the job's places, and tells whose: those of the gates, and those that it has kept (see let_go);
-- as a list, and as its record notes them
local function pass(way, marked)
  for n = 1, #way.gates do
    local name = way.gates[n].name
    free[name] = free[name] - 1
  end
  if marked == '' and not way.has_order then return way.held, way.noted end
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
  return held, noted_gates(held)
end
-- the tail of a record whose job had kept the gates `marked`, and now holds those that are `noted`
local function tail_with(packed, marked, noted)
  local tail = tail_of(packed)
  if tail ~= '' then return string.sub(tail, 1, #tail - #marked) .. noted end
  return noted ~= '' and '\0\0\0' .. noted or ''
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
