#!lua
-- Enqueues the job of one instant of a schedule, once over all workers.
-- keys: ready grouped later leases body record result completed failed cancelled expired parked expiry config progress logs ticks stats events wake
-- args: now:int schedule:str instant:int apart:int id:str data:str priority:int
--   apart: the instant counts as fired if the last one is less than this many ms older (0: none)
-- returns: 1 enqueued, 0 fired already, 2 the job of an earlier instant still holds the id
-- include: time record tell wake drop state vacate add
local fired = tonumber(redis.call('HGET', ticks, schedule) or '-1')
if fired >= instant or (apart > 0 and fired >= 0 and instant - fired < apart) then return 0 end
local held = redis.call('HEXISTS', body, id) == 1 and not vacate(id)
if not held then add(id, data, priority, 0, instant) end
write_added()
write_events()
redis.call('HSET', ticks, schedule, instant)
return held and 2 or 1
