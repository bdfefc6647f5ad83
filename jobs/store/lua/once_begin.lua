#!lua
-- Marks that a thing is being done, unless it is done or somebody else is at it.
-- The same owner may begin again what it has not ended: with a newer token, or the same.
-- keys: marker
-- args: owner:str token:int hold_ms:int
-- returns: 1 if the caller is to do it, else 0
local held = redis.call('GET', marker)
if held == 'done' then return 0 end
if held then
  local before, whose = string.match(held, '^(%d+) (.*)$')
  if whose ~= owner or tonumber(before) > token then return 0 end
end
redis.call('SET', marker, string.format('%d ', token) .. owner, 'PX', hold_ms)
return 1
