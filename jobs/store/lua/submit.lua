#!lua
-- Adds up to 100 jobs, each at most once, with all that an enqueue may ask for: an id of the caller's,
-- a unique key, a group with its turns.
-- keys: ready grouped turns later leases body record result completed failed cancelled expired parked expiry config taken unique uniques holding progress logs stats events wake
-- args: now:int again:int rest:list
--   again: 1 when the same call is repeated after a lost answer: an equal body is its own success
--   rest, six a job: id, body, group, key (both '' for a plain job), unique key ('' none), facts:
--     priority, delay ms, due ms (0: by the delay), ms the id stays taken (-1: a generated id, which
--     takes the place of no other job, not even of one that has ended), how it is unique (u until the
--     job ends, t for a time, d a quiet time at the beginning: leading, p the same at the end: trailing,
--     n next: one more run after the one that is active), ms of that, longest delay in ms (0 none)
-- returns: one character a job: + added, = its id is held by a job, - taken by an earlier one, u its
--   unique key is held, by the job whose id follows; then the ids of the holders
-- include: time record tell wake drop state place vacate add
local FIELDS, FACTS = 6, '>Hdddc1dd'
local ids, keys, has_keys = {}, {}, false
for i = rest, #ARGV, FIELDS do
  local n = #ids + 1
  ids[n], keys[n] = ARGV[i], ARGV[i + 4]
  has_keys = has_keys or keys[n] ~= ''
end
local held = redis.call('HMGET', body, unpack(ids))
local reserved = redis.call('EXISTS', taken) == 1 and redis.call('ZMSCORE', taken, unpack(ids)) or {}
local owners = has_keys and redis.call('HMGET', unique, unpack(keys)) or {}
local switches = redis.call('HMGET', config, 'listened', 'ageing', 'flow')
listening = tonumber(switches[1] or '0') > now
ageing = tonumber(switches[2] or '0')
local answers, holders, seen, reserve, took = {}, {}, {}, {}, {}
local owned, times, over, has_tails = {}, {}, {}, false
local function is_held(n, id, data, ttl)
  if seen[id] then return '=' end
  if again == 1 and held[n] and string.sub(held[n], ENQUEUED_BYTES + 1) == data then return '+' end
  local kept = reserved[n] and tonumber(reserved[n]) > now
  if kept and not held[n] then return '-' end
  if held[n] and (ttl < 0 or kept or not has_ended(id)) then return '=' end
end
-- the id of the job that has a unique key, unless its time is over, its job is gone, or the quiet
-- time is over at whose end it runs. A key without a time is held until its job ends
local function owner_of(n, own, mode)
  if took[own] then return took[own] end
  local owner = owners[n]
  if not owner then return end
  local until_ms = redis.call('ZSCORE', uniques, own)
  if until_ms then
    if tonumber(until_ms) > now then return owner end
    over[#over + 1] = own
    return
  end
  if redis.call('HEXISTS', body, owner) == 0 then return end
  return not (mode == 'p' and state_of(owner) == 'active') and owner
end
-- one more run after the active one: the new job waits for its end in a line of its own
local function follows(owner, own, mode)
  if mode ~= 'n' or state_of(owner) ~= 'active' then return false end
  redis.call('ZADD', holding, 0, 'u:' .. own .. '\1' .. owner)
  local packed = redis.call('HGET', record, owner)
  local priority, token, failures, losses, interruptions, flags, sequence, available, size = unpack_record(packed)
  local group, key, unique_key, gates = flow_of(packed)
  if string.find('\0' .. gates, '\0u:' .. own .. '\0', 1, true) then return true end
  redis.call('HSET', record, owner, pack_record(priority, token, failures, losses, interruptions, flags, sequence,
    available, size, table.concat({group, key, unique_key, gates .. 'u:' .. own .. '\0'}, '\0')))
  return true
end
for n, id in ipairs(ids) do
  local at = rest + (n - 1) * FIELDS
  local data, group, key, own = ARGV[at + 1], ARGV[at + 2], ARGV[at + 3], ARGV[at + 4]
  local priority, delay, due_ms, ttl, mode, ms, most = struct.unpack(FACTS, ARGV[at + 5])
  local answer = is_held(n, id, data, ttl)
  local owner = not answer and own ~= '' and owner_of(n, own, mode)
  if owner and not follows(owner, own, mode) then
    answer = 'u'
    holders[#holders + 1] = owner
    if mode == 'd' then
      local first = enqueued_at(redis.call('HGET', body, owner) or '')
      local until_ms = most > 0 and math.min(now + ms, first + most) or now + ms
      redis.call('ZADD', uniques, 'XX', 'GT', string.format('%.17g', until_ms), own)
    end
    tell('deduplicated', owner, id)
  end
  if answer == '=' or answer == '-' then tell('duplicated', id, '') end
  answers[n] = answer or '+'
  if not answer then
    if held[n] then vacate(id) end
    local tail
    if group ~= '' or own ~= '' then
      has_tails = true
      tail = group .. '\0' .. key .. '\0' .. own .. (mode == 'n' and '\0n\0' or '\0')
    end
    add(id, data, priority, mode == 'p' and ms or delay, due_ms, tail)
    if ttl > 0 then
      reserve[#reserve + 1] = now + ttl
      reserve[#reserve + 1] = id
    end
    if own ~= '' then
      took[own] = id
      owned[#owned + 1] = own
      owned[#owned + 1] = id
      if mode == 't' or mode == 'd' then
        times[#times + 1] = now + ms
        times[#times + 1] = own
      end
    end
  end
  seen[id] = true
end
write_added(line_up_all)
if #owned > 0 then
  redis.call('HSET', unique, unpack(owned))
  if #over > 0 then redis.call('ZREM', uniques, unpack(over)) end
  if #times > 0 then redis.call('ZADD', uniques, unpack(times)) end
end
if has_tails and not switches[3] then redis.call('HSET', config, 'flow', 1) end
if #reserve > 0 then redis.call('ZADD', taken, unpack(reserve)) end
write_events()
return {table.concat(answers), unpack(holders)}
