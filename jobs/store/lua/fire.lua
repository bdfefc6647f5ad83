#!lua
-- Makes the jobs of some instants of a schedule, each once over all schedulers, and notes what was decided.
-- keys: ready grouped turns later leases body record completed failed cancelled expired parked config schedules stats events wake
-- args: now:int name:str revision:int after:int upto:int by_hand:int overlap:str limit:int priority:int group:str key:str rest:list
--   after: the caller's plan holds only if everything up to this instant is decided, and no more
--   by_hand: 1 for a run that somebody asked for now, whatever the schedule's rule and state
--   overlap: skip, queue or allow; limit: runs in all, 0 for any number
--   group, key: both '' for plain jobs, see submit.lua
--   rest, four a run: instant, due ms, job id, body; first the one that was held, if it is
-- returns: status (1 done, 0 the plan is stale, -1 no such schedule, -2 it is too early), the state
--   line, now, and one character a run: + made, = was there, h held until the last one ends,
--   s skipped, . nothing to do
-- include: time record tell wake state place add shelf
local state, stored = read_schedule(name)
if not state then return {-1, '', now, ''} end
local hand = by_hand == 1
if not hand then
  if state.revision ~= revision or state.after ~= after or state.paused > 0 then
    return {0, state_line(state), now, ''}
  end
  if upto > now then return {-2, state_line(state), now, ''} end
end
local switches = redis.call('HMGET', config, 'listened', 'ageing', 'flow')
listening = tonumber(switches[1] or '0') > now
ageing = tonumber(switches[2] or '0')
local tail = group ~= '' and table.concat({group, key, '', ''}, '\0') or nil
local ENDED = 'completed failed cancelled expired'
local made = false
local function last_goes_on()
  if made then return true end
  if state.last == 0 then return false end
  local found = state_of(string.format('%s:%.0f', name, state.last))
  return found and not string.find(ENDED, found, 1, true)
end
local function room()
  return limit == 0 or state.fired + (state.held > 0 and 1 or 0) < limit
end
local function make(instant, due, id, data)
  if redis.call('HEXISTS', body, id) == 1 then return '=' end
  add(id, data, priority, 0, due, tail)
  return '+'
end
local answers = {}
for i = rest, #ARGV, 4 do
  local instant, due, id, data = tonumber(ARGV[i]), tonumber(ARGV[i + 1]), ARGV[i + 2], ARGV[i + 3]
  local answer
  if hand then
    local goes_on = last_goes_on()
    answer = make(instant, due, id, data)
    if not goes_on and instant > state.last then state.last = instant end
  elseif instant == state.held then
    if last_goes_on() then
      answer = '.'
    else
      answer = make(instant, due, id, data)
      state.held, state.last, state.fired, made = 0, instant, state.fired + 1, true
    end
  elseif instant <= state.after or not room() then
    answer = '.'
  elseif overlap ~= 'allow' and (state.held > 0 or last_goes_on()) then
    if overlap == 'queue' and state.held == 0 then
      state.held, answer = instant, 'h'
    else
      state.skipped, answer = state.skipped + 1, 's'
    end
  else
    answer = make(instant, due, id, data)
    state.last, state.fired, made = instant, state.fired + 1, true
  end
  answers[#answers + 1] = answer
end
write_added(line_up_all)
if number > 0 and tail and not switches[3] then redis.call('HSET', config, 'flow', 1) end
write_events()
if not hand then state.after = math.max(state.after, upto) end
write_schedule(name, state, stored)
return {1, state_line(state), now, table.concat(answers)}
