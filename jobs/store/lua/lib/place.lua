-- where a job stands that does not run: in `ready` by itself, or in `grouped` with others of its
-- group, which has one turn in `turns`; a turn of inf is that of a group that a limit blocks
local BLOCKED = math.huge
local function member_of(group, score, id)
  return group .. '\1' .. struct.pack('>d', score) .. id
end
local function first_of(group, most)
  return redis.call('ZRANGEBYLEX', grouped, '[' .. group .. '\1', '(' .. group .. '\2', 'LIMIT', 0, most)
end
-- gives groups, each with the place of its first new job, their turns. A blocked group is looked at again
-- when another job is its first one: what blocks it may be a limit of the one that was
local function give_turns(places_of)
  local groups, scores = {}, {}
  for group in pairs(places_of) do groups[#groups + 1] = group end
  local had = redis.call('ZMSCORE', turns, unpack(groups))
  for n, group in ipairs(groups) do
    local turn, score = tonumber(had[n] or '-inf'), places_of[group]
    local is_first = turn == BLOCKED and string.sub(first_of(group, 1)[1], #group + 2, #group + 9) == struct.pack('>d', score)
    if is_first or turn == -BLOCKED or (turn ~= BLOCKED and score < turn) then
      scores[#scores + 1] = score
      scores[#scores + 1] = group
    end
  end
  if #scores > 0 then redis.call('ZADD', turns, unpack(scores)) end
end
-- makes jobs wait at their places, each in its group ('' for none)
local function line_up_all(ids, scores, groups)
  local alone, members, first = {}, {}, {}
  for n = 1, #ids do
    local id, score, group = ids[n], scores[n], groups[n]
    if group == '' then
      local at = #alone
      alone[at + 1], alone[at + 2] = score, id
    else
      local at = #members
      members[at + 1], members[at + 2] = 0, member_of(group, score, id)
      if score < (first[group] or math.huge) then first[group] = score end
    end
  end
  if #alone > 0 then redis.call('ZADD', ready, unpack(alone)) end
  if #members > 0 then redis.call('ZADD', grouped, unpack(members)) end
  if next(first) then give_turns(first) end
end
-- makes a job wait at the place that its record says
local function line_up(id, packed)
  local priority, _, _, _, _, flags, sequence = unpack_record(packed)
  line_up_all({id}, {score_of(priority, flags, sequence)}, {(flow_of(packed))})
end
-- takes a job that does not run out of the set in which it stands: its state, or false if the queue
-- does not hold it. A running job stays where it is
local function take_out(id)
  local state, name, score, zset = state_of(id)
  if not state or state == 'active' then return state, score end
  redis.call('ZREM', zset, name)
  if zset == grouped then
    local group = string.match(name, '^[^\1]*')
    if #first_of(group, 1) == 0 then redis.call('ZREM', turns, group) end
  end
  return state, score
end
