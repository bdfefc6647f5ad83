#!lua flags=allow-oom
-- Answers with the end of a job, or notes who wants to hear of it.
-- keys: ready grouped later leases record completed failed cancelled expired parked result waiters
-- args: id:str inbox:str
-- returns: state and last history line of an ended job; state and '' of a live one; '' and '' if unknown
-- include: record state
local state = state_of(id)
if not state then return {'', ''} end
if state == 'completed' or state == 'failed' or state == 'cancelled' or state == 'expired' then
  local lines = redis.call('HGET', result, id) or ''
  return {state, string.match(lines, '[^\n]*$')}
end
local inboxes = redis.call('HGET', waiters, id)
if not inboxes then
  redis.call('HSET', waiters, id, inbox)
elseif not string.find(' ' .. inboxes .. ' ', ' ' .. inbox .. ' ', 1, true) then
  redis.call('HSET', waiters, id, inboxes .. ' ' .. inbox)
end
return {state, ''}
