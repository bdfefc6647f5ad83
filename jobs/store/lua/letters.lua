#!lua
-- Gives one worker at a time the next dead letters that nobody was told of, oldest first.
-- keys: failed body record result config
-- args: now:int worker:str turn_ms:int score:str member:str begins:int
--   turn_ms: how long the turn is this worker's, from now on
--   score, member: all up to this place were told of ('' for nothing new)
--   begins: 1 to look once more at the last minutes, in which the clock may have been set back
-- returns: 1 if it is this worker's turn, else 0; then five values a letter: id, score, body, record, result
-- include: time place_in
local AGAIN = 600000
local until_ms, owner = string.match(redis.call('HGET', config, 'letters:turn') or '0 ', '^(%d+) (.*)$')
if owner ~= worker and tonumber(until_ms) > now then return {0} end
redis.call('HSET', config, 'letters:turn', string.format('%.0f %s', now + turn_ms, worker))
local place = redis.call('HGET', config, 'letters')
if score ~= '' then
  place = score .. ' ' .. member
  redis.call('HSET', config, 'letters', place)
end
local told, name = string.match(place or '0 ', '^(%S+) (.*)$')
if begins == 1 or tonumber(told) > now then
  told, name = text_of(math.max(0, math.min(tonumber(told), now) - AGAIN)), ''
end
-- Only what ended before this millisecond: whatever ends later stands behind it.
local first = place_in(failed, told, name, true)
local last = math.min(redis.call('ZCOUNT', failed, '-inf', '(' .. text_of(now)), first + 100) - 1
local reply = {1}
if first > last then return reply end
local found = redis.call('ZRANGE', failed, first, last, 'WITHSCORES')
for i = 1, #found, 2 do
  local id = found[i]
  reply[#reply + 1] = id
  reply[#reply + 1] = found[i + 1]
  reply[#reply + 1] = redis.call('HGET', body, id)
  reply[#reply + 1] = redis.call('HGET', record, id)
  reply[#reply + 1] = redis.call('HGET', result, id)
end
return reply
