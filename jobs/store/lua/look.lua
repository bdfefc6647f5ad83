#!lua flags=no-writes
-- Reads up to 100 jobs as they are stored, at one moment; a script, because a full server refuses MULTI.
-- keys: ready grouped later leases body record result completed failed cancelled expired parked progress
-- args: rest:list
--   rest: ids
-- returns: six values a job: its state ('' if unknown), its score there, body, record, result, progress (or nil)
-- include: record state
local reply = {}
for i = rest, #ARGV do
  local id = ARGV[i]
  local state, _, score = state_of(id)
  reply[#reply + 1] = state or ''
  reply[#reply + 1] = score or false
  reply[#reply + 1] = redis.call('HGET', body, id)
  reply[#reply + 1] = redis.call('HGET', record, id)
  reply[#reply + 1] = redis.call('HGET', result, id)
  reply[#reply + 1] = redis.call('HGET', progress, id)
end
return reply
