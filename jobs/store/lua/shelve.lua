#!lua
-- Pauses a schedule or lets it go on; what was due meanwhile is not made up for.
-- keys: config schedules
-- args: now:int name:str pause:int channel:str
-- returns: 1 done, 0 it is so already, -1 there is no such schedule
-- include: time shelf
local state, rest = read_schedule(name)
if not state then return -1 end
if (state.paused > 0) == (pause == 1) then return 0 end
state.paused = pause == 1 and now or 0
if pause == 0 then state.after = math.max(state.after, now) end
state.held = 0
write_schedule(name, state, rest)
tell_schedulers(name)
return 1
