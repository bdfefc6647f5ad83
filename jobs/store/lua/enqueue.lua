#!lua
-- Adds up to 100 jobs that have ids of their own making and take part in no limit: the quick way.
-- keys: ready later body record config stats events wake
-- args: now:int again:int rest:list
--   again: 1 when the same call is repeated after a lost answer: an equal body is its own success
--   rest, three a job: id, body, facts: priority, delay ms, due ms (0: by the delay)
-- returns: one character a job: + added, = the id is held by another job, even by one that has ended
-- include: time record tell wake add
local FIELDS, FACTS = 3, '>Hdd'
local ids = {}
for i = rest, #ARGV, FIELDS do ids[#ids + 1] = ARGV[i] end
local held = redis.call('HMGET', body, unpack(ids))
local switches = redis.call('HMGET', config, 'listened', 'ageing')
listening = tonumber(switches[1] or '0') > now
ageing = tonumber(switches[2] or '0')
local answers, seen = {}, {}
for n, id in ipairs(ids) do
  local at = rest + (n - 1) * FIELDS
  local data = ARGV[at + 1]
  if seen[id] then
    answers[n] = '='
  elseif held[n] then
    answers[n] = again == 1 and string.sub(held[n], ENQUEUED_BYTES + 1) == data and '+' or '='
  else
    answers[n] = '+'
    local priority, delay, due_ms = struct.unpack(FACTS, ARGV[at + 2])
    add(id, data, priority, delay, due_ms)
  end
  seen[id] = true
end
write_added()
write_events()
return table.concat(answers)
