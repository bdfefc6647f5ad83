-- where a job stands that does not run: in `ready` by itself, or in `grouped` with others of its
-- group, which has one turn in `turns`; a turn of inf is that of a group that a limit blocks
local BLOCKED = math.huge
local function member_of(group, score, id)
  return group .. '\1' .. struct.pack('>d', score) .. id
end
local function first_of(group, most)
  return redis.call('ZRANGEBYLEX', grouped, '[' .. group .. '\1', '(' .. group .. '\2', 'LIMIT', 0, most)
end
-- a blocked group is looked at again when another job is its first one: what blocks it may be a limit
-- of the one that was
local function give_turn(group, score)
  local turn = tonumber(redis.call('ZSCORE', turns, group) or '-inf')
  local is_first = turn == BLOCKED and string.sub(first_of(group, 1)[1], #group + 2, #group + 9) == struct.pack('>d', score)
  if is_first or turn == -BLOCKED or (turn ~= BLOCKED and score < turn) then
    redis.call('ZADD', turns, string.format('%.17g', score), group)
  end
end
-- makes a job wait at the place that its record says
local function line_up(id, packed)
  local priority, _, _, _, _, flags, sequence = unpack_record(packed)
  local score, group = score_of(priority, flags, sequence), flow_of(packed)
  if group == '' then
    redis.call('ZADD', ready, string.format('%.17g', score), id)
  else
    redis.call('ZADD', grouped, 0, member_of(group, score, id))
    give_turn(group, score)
  end
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
