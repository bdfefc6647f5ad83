-- chooses what to lease where groups take turns and limits hold: by priority, among equals by place
-- in line; a group has one place, its first job's, and goes to the end with what is left of it
local function level_of(score)
  return math.floor(score / SPAN)
end
-- what is first in line: of one priority only where groups take part in it, as they have room for more
-- than their first jobs
local function first_jobs(room)
  local found, groups = {}, 0
  local alone = redis.call('ZRANGE', ready, 0, room - 1, 'WITHSCORES')
  local turn = redis.call('ZRANGEBYSCORE', turns, '-inf', '(inf', 'WITHSCORES', 'LIMIT', 0, room)
  local level = turn[2] and level_of(tonumber(turn[2])) or math.huge
  local is_alone = alone[2] and level_of(tonumber(alone[2])) < level
  local i, j = 1, 1
  while #found < room and (alone[i] or turn[j]) do
    local first, second = tonumber(alone[i + 1] or 'inf'), tonumber(turn[j + 1] or 'inf')
    local at = level_of(math.min(first, second))
    if at > level or (at == level and is_alone) then break end
    if first <= second then
      found[#found + 1] = {id = alone[i], score = first}
      i = i + 2
    else
      found[#found + 1] = {group = turn[j], score = second, level = level}
      groups = groups + 1
      j = j + 2
    end
  end
  return found, groups
end
local function take_member(entry, member)
  local at = #entry.group + 2
  local score = struct.unpack('>d', member, at)
  if level_of(score) > entry.level then return end
  return {id = string.sub(member, at + 8), score = score, member = member, of = entry}
end
-- the jobs themselves: one, or more of each group while there is room for all
local function spread(found, groups, room)
  local jobs = {}
  local each = groups > 0 and math.floor((room - #found) / groups) + 1 or 1
  for _, entry in ipairs(found) do
    if entry.group then entry.members = first_of(entry.group, each + 1) end
  end
  for round = 1, each do
    for _, entry in ipairs(found) do
      local member = entry.group and entry.members[round]
      if member and not entry.next then
        local job = take_member(entry, member)
        if job then jobs[#jobs + 1] = job else entry.next = member end
      elseif entry.id and round == 1 then
        jobs[#jobs + 1] = entry
      end
    end
  end
  for _, entry in ipairs(found) do
    if entry.group then entry.next = entry.next or entry.members[each + 1] end
  end
  return jobs
end
local function read_jobs(jobs)
  local ids = {}
  for n, job in ipairs(jobs) do ids[n] = job.id end
  local stored, packed = redis.call('HMGET', body, unpack(ids)), redis.call('HMGET', record, unpack(ids))
  for n, job in ipairs(jobs) do job.stored, job.packed = stored[n], packed[n] end
end
local function leave_line(jobs)
  local alone, grouped_ones = {}, {}
  for _, job in ipairs(jobs) do
    if job.member then grouped_ones[#grouped_ones + 1] = job.member else alone[#alone + 1] = job.id end
  end
  if #alone > 0 then redis.call('ZREM', ready, unpack(alone)) end
  if #grouped_ones > 0 then redis.call('ZREM', grouped, unpack(grouped_ones)) end
end
-- puts jobs aside, each into the group of its gate and key; one that holds places waits by itself,
-- as others there could wait for it
local function divert(moved)
  local records, members, groups = {}, {}, {}
  for _, move in ipairs(moved) do
    local job, gate = move.job, move.gate
    local _, key, own, marked = flow_of(job.packed)
    local group = (move.order or gate) .. '\2' .. key
    if marked ~= '' and marked ~= 'n\0' then group = group .. '\3' .. string.format('%.17g', job.score) end
    local packed = job.packed
    if not packed then
      packed = pack_record(level_of(job.score), 0, 0, 0, 0, 0, job.score % SPAN, enqueued_at(job.stored))
    end
    records[#records + 1] = job.id
    records[#records + 1] = string.sub(packed, 1, RECORD_BYTES) .. table.concat({group, key, own, marked}, '\0')
    members[#members + 1] = 0
    members[#members + 1] = member_of(group, job.score, job.id)
    local first = groups[group]
    if not first or job.score < first.score then groups[group] = {score = job.score, gate = gate} end
  end
  redis.call('HSET', record, unpack(records))
  redis.call('ZADD', grouped, unpack(members))
  for group, first in pairs(groups) do
    if redis.call('ZSCORE', turns, group) then
      give_turn(group, first.score)
    else
      block(group, first.score, first.gate)
    end
  end
end
-- whether a job leaves its place for one behind the gate: a limit of one function, or of one job, does
-- not hold up the others of its key, unless all of the key keep an order
local function goes_aside(job, gate, order)
  if not job.of then return true end
  if is_aside(job.of.group, gate) or (order and is_aside(job.of.group, order)) then return false end
  if order and not string.find(order, '\2', 1, true) then return false end
  local kind = string.match(gate, '^%a+')
  if kind == 'o' then return string.find(gate, '\2', 1, true) ~= nil end
  if kind == 's' then return not (rules.q and rules.q.names and rules.q.names[gate]) end
  return kind == 'f' or kind == 'fk' or kind == 'u'
end
-- those of one function and key that keep an order stand aside together, also when they come later
local function joins(job, order)
  local group = job.of and order and string.find(order, '\2', 1, true) and order .. '\2' .. string.match(order, '\2(.*)$')
  return group and group ~= job.of.group and redis.call('ZSCORE', turns, group) and order
end
-- sorts jobs into those that may start, and those that are put aside or stay
local function sift(jobs)
  local chosen, moved = {}, {}
  for _, job in ipairs(jobs) do
    if not (job.of and job.of.shut) then
      local _, key, own, marked = flow_of(job.packed)
      local gates = gates_of(function_of(job.stored), key, own, marked)
      local gate, order = closed_gate(gates, marked)
      gate = gate or joins(job, order)
      if not gate then
        job.held, job.rated = pass(gates, marked)
        chosen[#chosen + 1] = job
      elseif goes_aside(job, gate, order) then
        moved[#moved + 1] = {job = job, gate = gate, order = job.of and order}
      else
        job.of.shut, job.of.score = gate, math.max(job.of.score, job.score)
      end
    end
  end
  return chosen, moved
end
-- gives each group that was looked at its next turn
local function pass_turns(found)
  local waits = 0
  for _, entry in ipairs(found) do if entry.group and not entry.shut then waits = waits + 1 end end
  if waits == 0 then return end
  local last = redis.call('HINCRBY', config, 'sequence', waits)
  local scores, done = {}, {}
  for _, entry in ipairs(found) do
    if entry.group and not entry.shut then
      if entry.next then
        local score = struct.unpack('>d', entry.next, #entry.group + 2)
        if score >= SPAN then score = math.floor(score / SPAN) * SPAN + last - waits + #scores / 2 + 1 end
        scores[#scores + 1] = string.format('%.17g', score)
        scores[#scores + 1] = entry.group
      else
        done[#done + 1] = entry.group
      end
    end
  end
  if #scores > 0 then redis.call('ZADD', turns, unpack(scores)) end
  if #done > 0 then redis.call('ZREM', turns, unpack(done)) end
end
local function take(want)
  local taken, diverted = {}, 0
  while #taken < want and diverted < DIVERTED do
    local found, groups = first_jobs(want - #taken)
    local jobs = spread(found, groups, want - #taken)
    if #jobs > 0 then read_jobs(jobs) end
    local chosen, moved = sift(jobs)
    local left = {unpack(chosen)}
    for _, move in ipairs(moved) do left[#left + 1] = move.job end
    leave_line(left)
    pass_turns(found)
    if #moved > 0 then divert(moved) end
    for _, entry in ipairs(found) do if entry.shut then block(entry.group, entry.score, entry.shut) end end
    for _, job in ipairs(chosen) do taken[#taken + 1] = job end
    diverted = diverted + #moved
    if open_gates() == 0 and #found == 0 then break end
  end
  return taken
end
-- notes what the chosen jobs hold, now that their tokens are known
local function hold(jobs, tokens)
  local mine, shared, times, shared_times = {}, {}, {}, {}
  for n, job in ipairs(jobs) do
    for _, gate in ipairs(job.held) do
      local is_shared = string.sub(gate, 1, 2) == 's:'
      local set = is_shared and shared or mine
      set[#set + 1] = 0
      set[#set + 1] = gate .. '\1' .. (is_shared and holding .. '\1' or '') .. job.id
    end
    for gate in pairs(job.rated) do
      local is_shared = string.sub(gate, 1, 2) == 's:'
      local set = is_shared and shared_times or times
      set[#set + 1] = 0
      set[#set + 1] = gate .. '\1' .. struct.pack('>dd', now, tokens[n]) .. (is_shared and holding or '')
    end
  end
  for set, pairs_of in pairs({[holding] = mine, [shared_holding] = shared, [starts] = times, [shared_starts] = shared_times}) do
    for at = 1, #pairs_of, 1000 do redis.call('ZADD', set, unpack(pairs_of, at, math.min(at + 999, #pairs_of))) end
  end
end
