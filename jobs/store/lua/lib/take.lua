-- chooses what to lease where groups take turns and limits hold: by priority, among equals by place
-- in line; a group has one place, its first job's, and goes to the end with what is left of it
local function first_jobs(room)
  local found, groups = {}, 0
  local alone = redis.call('ZRANGE', ready, 0, room - 1, 'WITHSCORES')
  local turn = redis.call('ZRANGEBYSCORE', turns, '-inf', '(inf', 'WITHSCORES', 'LIMIT', 0, room)
  local i, j = 1, 1
  while #found < room and (alone[i] or turn[j]) do
    local first, second = tonumber(alone[i + 1] or 'inf'), tonumber(turn[j + 1] or 'inf')
    if first <= second then
      found[#found + 1] = {id = alone[i], score = first}
      i = i + 2
    else
      found[#found + 1] = {group = turn[j], turn = second}
      groups = groups + 1
      j = j + 2
    end
  end
  return found, groups
end
-- the jobs themselves: one, or more of each group while there is room for all
local function spread(found, groups, room)
  local jobs = {}
  local each = groups > 0 and math.floor((room - #found) / groups) + 1 or 1
  for _, entry in ipairs(found) do
    if entry.group then
      entry.members = first_of(entry.group, each + 1)
      entry.next = entry.members[each + 1]
    end
  end
  for round = 1, each do
    for _, entry in ipairs(found) do
      local member = entry.group and entry.members[round]
      if member then
        local at = #entry.group + 2
        jobs[#jobs + 1] = {id = string.sub(member, at + 8), score = struct.unpack('>d', member, at),
          member = member, of = entry}
      elseif entry.id and round == 1 then
        jobs[#jobs + 1] = entry
      end
    end
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
local function divert(job, gate, key, own, marked)
  local group = gate .. '\2' .. key
  local packed = job.packed
  if not packed then
    packed = pack_record(math.floor(job.score / SPAN), 0, 0, 0, 0, 0, job.score % SPAN, enqueued_at(job.stored))
  end
  packed = string.sub(packed, 1, RECORD_BYTES) .. table.concat({group, key, own, marked}, '\0')
  redis.call('HSET', record, job.id, packed)
  redis.call('ZADD', grouped, 0, member_of(group, job.score, job.id))
  if not redis.call('ZSCORE', turns, group) then block(group, job.score, gate) end
end
-- whether a job leaves its place for one behind the gate: a limit of one function, or of one job, does
-- not hold up the others of its key
local function goes_aside(job, gate)
  if not job.of then return true end
  if is_aside(job.of.group, gate) then return false end
  local kind = string.match(gate, '^%a+')
  if kind == 'o' then return string.find(gate, '\2', 1, true) ~= nil end
  if kind == 's' then return not (rules.q and rules.q.names and rules.q.names[gate]) end
  return kind == 'f' or kind == 'fk' or kind == 'u'
end
-- sorts jobs into those that may start, and those that are put aside or stay
local function sift(jobs)
  local chosen, moved = {}, {}
  for _, job in ipairs(jobs) do
    if not (job.of and job.of.shut) then
      local _, key, own, marked = flow_of(job.packed)
      local gates = gates_of(function_of(job.stored), key, own, marked)
      local gate = closed_gate(job.id, gates, marked)
      if not gate then
        job.held, job.rated = pass(gates, marked)
        chosen[#chosen + 1] = job
      elseif goes_aside(job, gate) then
        moved[#moved + 1] = {job, gate, key, own, marked}
      else
        job.of.shut = gate
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
    leave_line(chosen)
    for _, move in ipairs(moved) do
      leave_line({move[1]})
      divert(unpack(move))
    end
    pass_turns(found)
    for _, entry in ipairs(found) do if entry.shut then block(entry.group, entry.turn, entry.shut) end end
    for _, job in ipairs(chosen) do taken[#taken + 1] = job end
    diverted = diverted + #moved
    if settle_gates() == 0 and #found == 0 then break end
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
