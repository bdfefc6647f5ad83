#!lua flags=no-writes
-- One page of a set of jobs in its own order, from a place on: a place stays where it is, whatever
-- comes and goes around it.
-- keys: ready grouped later leases body record result completed failed cancelled expired parked
-- args: name:str backwards:int score:str member:str least:str most:str count:int whole:int
--   name: the set
--   score, member: the place behind which the page begins ('' for the beginning)
--   least, most: only scores from the one on, and below the other ('' for no limit)
--   count: at most so many, up to 100; whole: 1 with what is stored of each job
-- returns: member, score of each; with `whole` its body, record and result too (false for none)
-- include: place_in
local SETS = {
  ready = ready, grouped = grouped, later = later, leases = leases, completed = completed, failed = failed,
  cancelled = cancelled, expired = expired, parked = parked}
local zset = SETS[name]
local first = least == '' and 0 or redis.call('ZCOUNT', zset, '-inf', '(' .. least)
local last = redis.call('ZCOUNT', zset, '-inf', most == '' and '+inf' or '(' .. most) - 1
if score ~= '' then
  if backwards == 1 then
    last = math.min(last, place_in(zset, score, member, false) - 1)
  else
    first = math.max(first, place_in(zset, score, member, true))
  end
end
if first > last then return {} end
if backwards == 1 then first = math.max(first, last - count + 1) else last = math.min(last, first + count - 1) end
local found = redis.call('ZRANGE', zset, first, last, 'WITHSCORES')
local members, ids, scores = {}, {}, {}
for i = 1, #found, 2 do
  local at = backwards == 1 and #found - i or i
  local n = #members + 1
  members[n], scores[n], ids[n] = found[at], found[at + 1], found[at]
  if name == 'later' then ids[n] = string.sub(found[at], 9) end
  if name == 'grouped' then ids[n] = string.sub(found[at], string.find(found[at], '\1', 1, true) + 9) end
end
local bodies, records, results = {}, {}, {}
if whole == 1 then
  bodies = redis.call('HMGET', body, unpack(ids))
  records = redis.call('HMGET', record, unpack(ids))
  results = redis.call('HMGET', result, unpack(ids))
end
local reply = {}
for n = 1, #members do
  reply[#reply + 1] = members[n]
  reply[#reply + 1] = scores[n]
  if whole == 1 then
    reply[#reply + 1] = bodies[n]
    reply[#reply + 1] = records[n]
    reply[#reply + 1] = results[n]
  end
end
return reply
