#!lua
-- Removes a schedule; the jobs that it made stay.
-- keys: config schedules
-- args: name:str channel:str
-- returns: 1 removed, 0 there was none
-- include: shelf
local removed = redis.call('HDEL', schedules, name)
if removed == 1 then tell_schedulers(name) end
return removed
