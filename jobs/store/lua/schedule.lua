#!lua
-- Stores a schedule, or changes the one of this name; what it has done is kept, unless its rule is another.
-- keys: config schedules
-- args: now:int name:str rule:str rest_of_it:str channel:str
-- returns: 1 added, 2 changed, 0 it was stored so already
-- include: time shelf
local known, stored = read_schedule(name)
local text = rule .. '\n' .. rest_of_it
if stored == text then return 0 end
local same_rule = known and string.match(stored, '^[^\n]*') == rule
local fresh = {revision = 0, after = now, fired = 0, skipped = 0, held = 0, last = 0, paused = 0}
local state = known or fresh
if known and not same_rule then
  state.after, state.fired, state.skipped, state.held = now, 0, 0, 0
end
state.revision = state.revision + 1
write_schedule(name, state, text)
tell_schedulers(name)
return known and 2 or 1
