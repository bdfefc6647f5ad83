-- leases up to `want` waiting jobs; a job claimed for the first time gets its record here.
-- Tokens grow over the whole queue: one of an earlier job of the same id proves nothing.
-- An id without a body, which only damage can leave behind, is dropped: nobody could run it
local function within_rate(want)
  if rate_limit == 0 or want == 0 then return want, -1 end
  want = math.min(want, rate_limit)
  local claimed = redis.call('LRANGE', rate, rate_limit - want, rate_limit - 1)
  local recent = 0
  while recent < #claimed and tonumber(claimed[recent + 1]) > now - rate_period do recent = recent + 1 end
  if recent < want then return want - recent, -1 end
  return 0, tonumber(claimed[#claimed]) + rate_period - now
end
local function note_rate(number)
  if rate_limit == 0 or number == 0 then return end
  local times = {}
  for i = 1, number do times[i] = now end
  redis.call('LPUSH', rate, unpack(times))
  redis.call('LTRIM', rate, 0, rate_limit - 1)
end
local function lease(popped, reply)
  local ids, tokens, records, deadlines = {}, {}, {}, {}
  local asked, deadline = {}, text_of(now + lease_ms)
  for i = 1, #popped, 2 do asked[#asked + 1] = popped[i] end
  local stored = redis.call('HMGET', body, unpack(asked))
  local packed = redis.call('HMGET', record, unpack(asked))
  local last = redis.call('HINCRBY', config, 'token', #asked) - #asked
  for n, id in ipairs(asked) do
    if stored[n] then
      local score = tonumber(popped[2 * n])
      local priority, failures, losses, interruptions, flags = math.floor(score / SPAN), 0, 0, 0, 0
      local _
      local sequence, available = score % SPAN, enqueued_at(stored[n])
      if packed[n] then
        priority, _, failures, losses, interruptions, flags, sequence, available = unpack_record(packed[n])
      end
      local fresh = pack_record(priority, last + n, failures, losses, interruptions, flags, sequence, available, #stored[n])
      ids[#ids + 1] = id
      tokens[#tokens + 1] = last + n
      records[#records + 1] = id
      records[#records + 1] = fresh
      deadlines[#deadlines + 1] = deadline
      deadlines[#deadlines + 1] = id
      reply[#reply + 1] = id
      reply[#reply + 1] = stored[n]
      reply[#reply + 1] = fresh
      bucket('wait', math.max(0, now - available))
    end
  end
  if #ids == 0 then return ids, tokens end
  redis.call('HSET', record, unpack(records))
  redis.call('ZADD', leases, unpack(deadlines))
  count('claimed', #ids)
  return ids, tokens
end
local function claim(want, reply)
  local allowed, wait = within_rate(want)
  reply[4] = wait
  if allowed == 0 then return {}, {} end
  local popped = redis.call('ZPOPMIN', ready, allowed)
  if #popped == 0 then return {}, {} end
  note_rate(#popped / 2)
  return lease(popped, reply)
end
