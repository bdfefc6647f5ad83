#!lua flags=allow-oom
-- One turn of a worker at a queue: writes the ends of attempts, makes due jobs waiting, claims more.
-- keys: ready later leases body record result completed failed cancelled expired parked expiry config claims stats waiters rate wake
-- args: now:int worker:str request:int lease_ms:int want:int rate_limit:int rate_period:int quiet:int policies:int acks:int rest:list
--   request: grows with each call of a worker; the same number again repeats the last answer, and
--     a smaller one, a call that was lost on the way and comes late, does nothing
--   quiet: 1 to do nothing at all unless a job waits; the answer then begins with 0
--   rest: three numbers a policy (age ms, count, bytes; -1 no limit), then three arguments an ack:
--     id, facts (see lib/ack.lua), history line
-- returns: now, ms until the next delayed job is due (-1 none), jobs left waiting, ms until the
--   rate allows a claim (-1 now), one character an ack (1 written, 0 stale), then id, body, record a job
-- include: time record wake count
if quiet == 1 and redis.call('ZCARD', ready) == 0 then return {0, -1, 0, -1, ''} end
local function write_ends()
-- include: drop keep ack
  awaited = redis.call('EXISTS', waiters) == 1
  local chosen = {}
  for i = 1, policies do
    local at = rest + (i - 1) * 3
    chosen[i] = {tonumber(ARGV[at]), tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2])}
  end
  return ack_all(rest + policies * 3, #ARGV, chosen)
end
local function until_next()
  local head = redis.call('ZRANGE', later, 0, 0, 'WITHSCORES')[2]
  return head and math.max(0, tonumber(head) - now) or -1
end
local function take_due()
-- include: stage
  stage()
end
-- include: claim
local reply = {now, -1, 0, -1, ''}
local last = redis.call('HGET', claims, worker)
local previous = last and cmsgpack.unpack(last)
if previous and request < previous[1] then
  return {now, -1, 0, -1, string.rep('0', acks)}
elseif previous and previous[1] == request then
  reply[5] = previous[4]
  for n, id in ipairs(previous[2]) do
    local packed = redis.call('ZSCORE', leases, id) and redis.call('HGET', record, id)
    if packed and select(2, unpack_record(packed)) == previous[3][n] then
      reply[#reply + 1] = id
      reply[#reply + 1] = redis.call('HGET', body, id)
      reply[#reply + 1] = packed
    end
  end
else
  if acks > 0 then reply[5] = write_ends() end
  if until_next() == 0 then take_due() end
  local ids, tokens = {}, {}
  if want > 0 then ids, tokens = claim(want, reply) end
  redis.call('HSET', claims, worker, cmsgpack.pack({request, ids, tokens, reply[5]}))
  write_counts()
end
reply[2] = until_next()
reply[3] = redis.call('ZCARD', ready)
if reply[3] > 0 and reply[4] < 0 then ring() end
return reply
