#!lua flags=allow-oom
-- Stops or resumes the handing out of a queue's jobs: of all, or of those of some functions.
-- keys: config limits alarms events wake
-- args: now:int resume:int reason:str rest:list
--   resume: 0 to pause, 1 to resume, which does nothing unless all of them are paused
--   rest: names of functions; none for the whole queue
-- returns: one value for the queue or each function: 1 if it was paused before, else 0
-- include: time tell wake
local NOTE = '{"reason":%s,"at":%s}'
local were, all = {}, true
local function note(was)
  were[#were + 1] = was
  all = all and was == 1
end
for i = rest, #ARGV do note(redis.call('HEXISTS', limits, 'p:' .. ARGV[i])) end
if rest > #ARGV then note(redis.call('HEXISTS', config, 'paused')) end
if resume == 1 and not all then return were end
local reasoned = string.format(NOTE, cjson.encode(reason), text_of(now))
if rest > #ARGV then
  if resume == 1 then redis.call('HDEL', config, 'paused') else redis.call('HSET', config, 'paused', reasoned) end
  tell(resume == 1 and 'resumed' or 'paused', '', '')
end
for i = rest, #ARGV do
  local name = ARGV[i]
  if resume == 1 then
    redis.call('HDEL', limits, 'p:' .. name)
    redis.call('ZADD', alarms, now, 'f:' .. name)
  else
    redis.call('HSET', limits, 'p:' .. name, reasoned)
    redis.call('HSET', config, 'flow', 1)
  end
  tell(resume == 1 and 'resumed' or 'paused', '', '{"function":' .. cjson.encode(name) .. '}')
end
if resume == 1 then ring() end
write_events()
return were
