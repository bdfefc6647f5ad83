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
-- `jobs`: what was chosen by `take`, with the places that each will hold; nil on the plain way
local function lease(asked, scores, stored, packed, jobs, reply)
  local ids, tokens, records, deadlines = {}, {}, {}, {}
  local deadline, held_by = text_of(now + lease_ms), {}
  local last = redis.call('HINCRBY', config, 'token', #asked) - #asked
  local leased, at = 0, #reply
  for n = 1, #asked do
    if stored[n] then
      local id, score = asked[n], scores[n]
      local priority, failures, losses, interruptions, flags = math.floor(score / SPAN), 0, 0, 0, 0
      local tail, _ = jobs and jobs[n].tail
      local sequence, available = score % SPAN, enqueued_at(stored[n])
      if packed[n] then
        priority, _, failures, losses, interruptions, flags, sequence, available = unpack_record(packed[n])
        tail = tail or tail_of(packed[n])
      end
      local fresh = pack_record(priority, last + n, failures, losses, interruptions, flags, sequence, available, #stored[n], tail)
      leased = leased + 1
      ids[leased], tokens[leased], held_by[leased] = id, last + n, jobs and jobs[n]
      records[2 * leased - 1], records[2 * leased] = id, fresh
      deadlines[2 * leased - 1], deadlines[2 * leased] = deadline, id
      reply[at + 1], reply[at + 2], reply[at + 3] = id, stored[n], fresh
      at = at + 3
      local of = function_of(stored[n])
      bucket('wait', math.max(0, now - available), of)
      tell('active', id, of)
    end
  end
  if #ids == 0 then return ids, tokens end
  redis.call('HSET', record, unpack(records))
  redis.call('ZADD', leases, unpack(deadlines))
  count('claimed', #ids)
  if jobs then tools.hold(held_by, tokens) end
  return ids, tokens
end
-- how many jobs may be claimed; 0 with the ms until that changes by itself (-1: a job's end changes it)
local function allowed(want)
  if is_paused then return 0, -1 end
  if closed_ms > now then return 0, closed_ms - now end
  local most, wait = within_rate(want)
  if most > 0 and has_flow then most, wait = tools.queue_places(most) end
  return most, wait
end
-- what a call that claims nothing says of the limits: its answer may be the last that is heard
local function look_ahead(reply)
  local most, wait = allowed(1)
  is_open = most > 0
  reply[4] = wait
end
local function claim(want, reply)
  local most, wait = allowed(want)
  is_open = most > 0
  reply[4] = wait
  if most == 0 then return {}, {} end
  local asked, scores, stored, packed, jobs = {}, {}, {}, {}, nil
  if has_flow then
    jobs = tools.take(most)
    for n, job in ipairs(jobs) do asked[n], scores[n], stored[n], packed[n] = job.id, job.score, job.stored, job.packed end
  else
    local popped = redis.call('ZPOPMIN', ready, most)
    for n = 1, #popped / 2 do asked[n], scores[n] = popped[2 * n - 1], tonumber(popped[2 * n]) end
  end
  if #asked == 0 then return {}, {} end
  if not jobs then stored, packed = redis.call('HMGET', body, unpack(asked)), redis.call('HMGET', record, unpack(asked)) end
  note_rate(#asked)
  return lease(asked, scores, stored, packed, jobs, reply)
end
