#!lua flags=allow-oom
-- Removes a queue whole: first nothing is handed out any more, at last every key goes.
-- keys: ready grouped turns blocked alarms holding starts limits later leases body record result completed failed cancelled expired parked expiry config taken unique uniques claims workers schedules ticks stats progress logs events waiters rate wake
-- args: now:int force:int last:int
--   force: 1 to go on although jobs run; 2 the same once some were removed: then the last token is kept,
--     so that their late ends prove nothing to the jobs that come after them
--   last: 0 to close the queue, 1 to remove it
-- returns: how many jobs run; without force nothing is done unless that is 0
-- include: time
local active = redis.call('ZCARD', leases)
if active > 0 and (force == 0 or last == 1) then return active end
if last == 0 then
  redis.call('HSET', config, 'paused', '{"reason":"obliterate","at":' .. text_of(now) .. '}')
  return active
end
local token = force == 2 and redis.call('HGET', config, 'token')
for _, set in ipairs({ready, grouped, turns, blocked, alarms, holding, starts, limits, later, leases, body, record,
  result, completed, failed, cancelled, expired, parked, expiry, config, taken, unique, uniques, claims, workers,
  schedules, ticks, stats, progress, logs, events, waiters, rate, wake}) do redis.call('UNLINK', set) end
if token then redis.call('HSET', config, 'token', token) end
return 0
