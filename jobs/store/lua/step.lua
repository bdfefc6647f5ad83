#!lua flags=allow-oom
-- One turn of a worker at a queue: writes the ends of attempts, makes due jobs waiting, claims more.
-- keys: ready grouped turns blocked alarms holding starts limits later leases body record result completed failed cancelled expired parked expiry config claims unique uniques progress logs stats events waiters rate wake shared_holding shared_starts
-- args: now:int worker:str request:int lease_ms:int want:int rate_limit:int rate_period:int quiet:int policies:int functions:int acks:int rest:list
--   request: grows with each call of a worker; the same number again repeats the last answer, and
--     a smaller one, a call that was lost on the way and comes late, does nothing
--   quiet: 1 to do nothing at all unless a job waits; the answer then begins with 0
--   rest: three numbers a policy (age ms, count, bytes; -1 no limit), the names of functions, then three
--     arguments an ack: id, facts (see lib/ack.lua), history line
-- returns: now, ms until the queue is to be looked at for a time (-1 none), jobs left that could be
--   claimed, ms until a limit allows a claim (-1 now), one character an ack (1 written, 0 stale), then
--   id, body, record a job
-- include: time record tell wake count
local switches = redis.call('HMGET', config, 'flow', 'paused', 'closed', 'listened')
local has_flow, is_paused = switches[1], switches[2]
local closed_ms, is_open = tonumber(switches[3] or '0'), not switches[2]
local function waiting()
  local number = redis.call('ZCARD', ready)
  return has_flow and number + redis.call('ZCOUNT', turns, '-inf', '(inf') or number
end
if quiet == 1 and (is_paused or waiting() == 0) then return {0, -1, 0, -1, ''} end
listening = tonumber(switches[4] or '0') > now
local tools
if has_flow then -- a function costs a call 0.3 µs: what it does not need is not made
  local function toolbox()
-- include: state place flow rules gates ways take
    return {line_up = line_up, let_go = let_go, write_freed = write_freed, read_rules = read_rules, queue_places = queue_places,
      take = take, hold = hold, look_at_alarms = look_at_alarms, note_alarms = note_alarms}
  end
  tools = toolbox()
end
local function line_up(id, packed)
  if tools then return tools.line_up(id, packed) end
  local priority, _, _, _, _, flags, sequence = unpack_record(packed)
  redis.call('ZADD', ready, score_of(priority, flags, sequence), id)
end
local function head_of(zset)
  local head = redis.call('ZRANGE', zset, 0, 0, 'WITHSCORES')[2]
  return head and math.max(0, tonumber(head) - now) or -1
end
local function until_next()
  local due = head_of(later)
  local alarm = has_flow and head_of(alarms) or -1
  return alarm >= 0 and (due < 0 or alarm < due) and alarm or due
end
-- include: claim
local reply = {now, -1, 0, -1, ''}
local last = redis.call('HGET', claims, worker)
local previous = last and cmsgpack.unpack(last)
if previous and request < previous[1] then
  return {now, -1, 0, -1, string.rep('0', acks)}
elseif previous and previous[1] == request then
  reply[5] = previous[4]
  for n, id in ipairs(previous[2]) do
    local packed = redis.call('ZSCORE', leases, id) and redis.call('HGET', record, id)
    if packed and select(2, unpack_record(packed)) == previous[3][n] then
      reply[#reply + 1] = id
      reply[#reply + 1] = redis.call('HGET', body, id)
      reply[#reply + 1] = packed
    end
  end
else
  if acks > 0 then
    local function write_ends()
      local function let_go(id, packed, ends)
        return tools and tools.let_go(id, packed, ends) or packed
      end
      local function write_freed()
        if tools then tools.write_freed() end
      end
-- include: drop keep ack
      awaited = redis.call('EXISTS', waiters) == 1
      local chosen, names = {}, {}
      for i = 1, policies do
        local at = rest + (i - 1) * 3
        chosen[i] = {tonumber(ARGV[at]), tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2])}
      end
      for i = 1, functions do names[i] = ARGV[rest + policies * 3 + i - 1] end
      return ack_all(rest + policies * 3 + functions, #ARGV, chosen, names)
    end
    reply[5] = write_ends()
  end
  if head_of(later) == 0 then
-- include: stage
    stage()
  end
  if has_flow then
    tools.read_rules()
    tools.look_at_alarms()
  end
  local ids, tokens = {}, {}
  if want > 0 then
    ids, tokens = claim(want, reply)
  else
    look_ahead(reply)
  end
  if has_flow then tools.note_alarms() end
  redis.call('HSET', claims, worker, cmsgpack.pack({request, ids, tokens, reply[5]}))
  write_counts()
end
reply[2] = until_next()
local left = waiting()
if left == 0 and acks > 0 and listening and redis.call('ZCARD', leases) == 0 then tell('drained', '', '') end
reply[3] = is_open and left or 0
if has_flow and left == 0 and reply[4] < 0 then reply[4] = head_of(alarms) end
if reply[3] > 0 and reply[4] < 0 then ring() end
write_events()
return reply
