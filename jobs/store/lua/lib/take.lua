-- chooses what to lease where groups take turns and limits hold: by priority, among equals by place
-- in line; a group has one place, its first job's, and goes to the end with what is left of it
local function level_of(score)
  return math.floor(score / SPAN)
end
-- how many jobs a group may give at its turn: one where few are wanted, so that turns are exact where
-- jobs are long or slots few. Of many that start at once anyway a group gives several, which share what
-- its turn costs, unless its limits may not let so many through
local MANY, TURN = 40, 4
local function turn_of(want)
  if want < MANY then return 1 end
  for scope, mine in pairs(rules) do
    if scope == 'k' or string.sub(scope, 1, 3) == 'fk:' then
      for _, rule in ipairs(mine) do if rule.limit < TURN then return 1 end end
    end
  end
  return TURN
end
-- what is first in line: of one priority only where groups take part in it, as they have room for more
-- than their first jobs. Also how many groups there are, and the place at which that priority ends
-- (A table is made with all the fields that it will get: Lua makes one that grows anew)
local function first_jobs(room, each)
  local alone = redis.call('ZRANGE', ready, 0, room - 1, 'WITHSCORES')
  local turn = redis.call('ZRANGEBYSCORE', turns, '-inf', '(inf', 'WITHSCORES', 'LIMIT', 0, math.ceil(room / each))
  local first, second = tonumber(alone[2] or 'inf'), tonumber(turn[2] or 'inf')
  local level = level_of(second)
  local finish = (level + 1) * SPAN
  local bound = level_of(first) < level and level * SPAN or finish
  local found, groups, i, j = {}, 0, 1, 1
  while #found + groups * (each - 1) < room and math.min(first, second) < bound do
    if first <= second then
      found[#found + 1] = {id = alone[i], score = first, stored = nil, packed = nil, held = nil, rated = nil, tail = nil}
      i = i + 2
      first = tonumber(alone[i + 1] or 'inf')
    else
      found[#found + 1] = {group = turn[j], score = second, most = nil, members = nil, next = nil, shut = nil}
      groups = groups + 1
      j = j + 2
      second = tonumber(turn[j + 1] or 'inf')
    end
  end
  return found, groups, finish
end
-- the jobs themselves: one, or more of each group while there is room, of the first groups one more
local function spread(found, groups, finish, room)
  if groups == 0 then return found end
  local jobs, spare, rounds, nth = {}, room - #found, 1, 0
  local each, more = math.floor(spare / groups) + 1, spare % groups
  for _, entry in ipairs(found) do
    if entry.group then
      nth = nth + 1
      entry.most = nth <= more and each + 1 or each
      entry.members = first_of(entry.group, entry.most + 1)
      rounds = math.max(rounds, math.min(entry.most, #entry.members))
    end
  end
  for round = 1, rounds do
    for n = 1, #found do
      local entry = found[n]
      local member = entry.group and round <= entry.most and entry.members[round]
      if member and not entry.next then
        local at = #entry.group + 2
        local score = struct.unpack('>d', member, at)
        if score < finish then
          jobs[#jobs + 1] = {id = string.sub(member, at + 8), score = score, member = member, of = entry,
            stored = nil, packed = nil, held = nil, rated = nil, tail = nil}
        else
          entry.next = member
        end
      elseif entry.id and round == 1 then
        jobs[#jobs + 1] = entry
      end
    end
  end
  for _, entry in ipairs(found) do
    if entry.group then entry.next = entry.next or entry.members[entry.most + 1] end
  end
  return jobs
end
local function read_jobs(jobs)
  local ids = {}
  for n = 1, #jobs do ids[n] = jobs[n].id end
  local stored, packed = redis.call('HMGET', body, unpack(ids)), redis.call('HMGET', record, unpack(ids))
  for n = 1, #jobs do jobs[n].stored, jobs[n].packed = stored[n], packed[n] end
end
-- takes jobs out of their lines: those that stand alone are the first ones there, and none stays
local function leave_line(alone, chosen, moved)
  local members = {}
  for n = 1, #chosen do members[#members + 1] = chosen[n].member end
  for n = 1, #moved do members[#members + 1] = moved[n].job.member end
  if alone > 0 then redis.call('ZREMRANGEBYRANK', ready, 0, alone - 1) end
  if #members > 0 then redis.call('ZREM', grouped, unpack(members)) end
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
      give_turns({[group] = first.score})
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
  for n = 1, #jobs do
    local job = jobs[n]
    if not (job.of and job.of.shut) then
      local _, key, own, marked = flow_of(job.packed)
      local way = way_of(function_of(job.stored), key, own, marked)
      local gate, order = closed_gate(way, marked)
      gate = gate or joins(job, order)
      if not gate then
        local held, noted = pass(way, marked)
        job.held, job.rated, job.tail = held, way.rated, tail_with(job.packed, marked, noted)
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
        scores[#scores + 1] = score
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
  local taken, diverted, each = {}, 0, turn_of(want)
  while #taken < want and diverted < DIVERTED do
    local found, groups, finish = first_jobs(want - #taken, math.min(each, want - #taken))
    local jobs = spread(found, groups, finish, want - #taken)
    if #jobs > 0 then read_jobs(jobs) end
    local chosen, moved = sift(jobs)
    leave_line(#found - groups, chosen, moved)
    if groups > 0 then pass_turns(found) end
    if #moved > 0 then divert(moved) end
    for _, entry in ipairs(found) do if entry.shut then block(entry.group, entry.score, entry.shut) end end
    for _, job in ipairs(chosen) do taken[#taken + 1] = job end
    diverted = diverted + #moved
    if open_gates() == 0 and #found == 0 then break end
  end
  return taken
end
