#!lua
-- Adds up to 100 jobs, each at most once: a repeated id makes no second job.
-- keys: ready later leases body record result completed failed cancelled expired parked expiry config taken stats wake
-- args: now:int again:int rest:list
--   again: 1 when the same call is repeated after a lost answer: an equal body is its own success
--   rest, six a job: id, body, priority, delay ms, due ms (0: by the delay), ms the id stays taken
--     (-1: a generated id, which takes the place of no other job, not even of one that has ended)
-- returns: one character a job: + added, = held by a job, - taken by an earlier one
-- include: time record wake add
local function make_room(id) -- what is seldom needed is made when it is: a function costs a call 0.3 µs
-- include: drop state vacate
  return vacate(id)
end
local FIELDS = 6
local ids = {}
for i = rest, #ARGV, FIELDS do ids[#ids + 1] = ARGV[i] end
local held = redis.call('HMGET', body, unpack(ids))
local reserved = redis.call('EXISTS', taken) == 1 and redis.call('ZMSCORE', taken, unpack(ids)) or {}
local answers, seen, reserve = {}, {}, {}
for n, id in ipairs(ids) do
  local at = rest + (n - 1) * FIELDS
  local data, ttl = ARGV[at + 1], tonumber(ARGV[at + 5])
  if seen[id] then
    answers[n] = '='
  elseif again == 1 and held[n] and string.sub(held[n], ENQUEUED_BYTES + 1) == data then
    answers[n] = '+'
  elseif reserved[n] and tonumber(reserved[n]) > now and not held[n] then
    answers[n] = '-'
  elseif held[n] and (ttl < 0 or (reserved[n] and tonumber(reserved[n]) > now) or not make_room(id)) then
    answers[n] = '='
  else
    answers[n] = '+'
    add(id, data, tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3]), tonumber(ARGV[at + 4]))
    if ttl > 0 then
      reserve[#reserve + 1] = now + ttl
      reserve[#reserve + 1] = id
    end
  end
  seen[id] = true
end
write_added()
if #reserve > 0 then redis.call('ZADD', taken, unpack(reserve)) end
return table.concat(answers)
