-- terminal jobs: kept with an expiry, or removed at once; then the state is trimmed. A job that holds
-- more than its place gives it up by `let_go` and `write_freed` (see flow.lua), which the script provides
local TERMINAL = {completed = completed, failed = failed, cancelled = cancelled, expired = expired}
local CODES = {completed = 1, failed = 2, cancelled = 3, expired = 4}
local HISTORY_BYTES = 65536
local awaited = true
local ended = {}
local kept = {lines = {}, ages = {}, records = {}}
local gone = {}
local function append_line(id, line)
  local lines = redis.call('HGET', result, id)
  if lines then
    lines = lines .. '\n' .. line
    while #lines > HISTORY_BYTES and string.find(lines, '\n', 1, true) do
      lines = string.sub(lines, string.find(lines, '\n', 1, true) + 1)
    end
  else
    lines = line
  end
  redis.call('HSET', result, id, lines)
  return #lines
end
local function tell_waiters(state, id, line)
  local inboxes = redis.call('HGET', waiters, id)
  if not inboxes then return end
  redis.call('HDEL', waiters, id)
  local message = struct.pack('>BH', CODES[state], #id) .. id .. line
  for inbox in string.gmatch(inboxes, '%S+') do redis.call('PUBLISH', inbox, message) end
end
local function finish(state, id, line, fresh, packed, age, most, most_bytes)
  if awaited then tell_waiters(state, id, line) end
  if #packed > RECORD_BYTES then packed = let_go(id, packed, true) end
  if age == 0 or most == 0 then
    gone[#gone + 1] = id
    return
  end
  local bytes = body_size(id, packed)
  if fresh then
    local lines = kept.lines
    local n = #lines
    lines[n + 1], lines[n + 2] = id, line
    bytes = bytes + #line
  else
    bytes = bytes + append_line(id, line)
  end
  if #packed >= RECORD_BYTES then
    local records = kept.records
    local n = #records
    records[n + 1], records[n + 2] = id, with_size(packed, bytes)
  end
  local sum = ended[state] or {bytes = 0, most = -1, most_bytes = -1, ids = {}}
  local ids = sum.ids
  local n = #ids
  ids[n + 1], ids[n + 2] = text_of(now), id
  if age > 0 then
    local ages = kept.ages
    local n = #ages
    ages[n + 1], ages[n + 2] = text_of(now + age), id
  end
  sum.bytes = sum.bytes + bytes
  if most >= 0 and (sum.most < 0 or most < sum.most) then sum.most = most end
  if most_bytes >= 0 and (sum.most_bytes < 0 or most_bytes < sum.most_bytes) then sum.most_bytes = most_bytes end
  ended[state] = sum
end
local function write_kept()
  if #gone > 0 then
    for _, hash in ipairs({body, record, result, progress, logs}) do redis.call('HDEL', hash, unpack(gone)) end
  end
  if #kept.lines > 0 then redis.call('HSET', result, unpack(kept.lines)) end
  if #kept.records > 0 then redis.call('HSET', record, unpack(kept.records)) end
  if #kept.ages > 0 then redis.call('ZADD', expiry, unpack(kept.ages)) end
end
local function trim_bytes(state, zset, total, most)
  local ids = {}
  local oldest = redis.call('ZRANGE', zset, 0, 199)
  local packed = redis.call('HMGET', record, unpack(oldest))
  for i = 1, #oldest do
    if total <= most then break end
    ids[i] = oldest[i]
    total = total - size_of(ids[i], packed[i])
  end
  drop(state, zset, ids)
end
local function trim()
  write_kept()
  write_freed()
  for state, sum in pairs(ended) do
    local zset = TERMINAL[state]
    redis.call('ZADD', zset, unpack(sum.ids))
    local total = redis.call('HINCRBY', config, 'bytes:' .. state, sum.bytes)
    local over = sum.most >= 0 and redis.call('ZCARD', zset) - sum.most or 0
    if over > 0 then drop(state, zset, redis.call('ZRANGE', zset, 0, math.min(over, 200) - 1)) end
    if sum.most_bytes >= 0 and total > sum.most_bytes then
      total = tonumber(redis.call('HGET', config, 'bytes:' .. state))
      trim_bytes(state, zset, total, sum.most_bytes)
    end
  end
end
