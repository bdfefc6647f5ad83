-- at most one element: one blocked worker wakes, and rings on if it leaves work behind
local function ring()
  if redis.call('LLEN', wake) == 0 then redis.call('RPUSH', wake, '1') end
end
