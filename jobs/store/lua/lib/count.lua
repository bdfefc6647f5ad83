-- counters of this call, written once at its end
local counts = {}
local function count(name, number)
  counts[name] = (counts[name] or 0) + number
end
local buckets = {}
local function bucket(name, ms)
  buckets[ms] = buckets[ms] or ':' .. math.floor(math.log(ms + 1) / 0.34657359027997)
  count(name .. '_ms', ms)
  count(name .. buckets[ms], 1)
end
local function write_counts()
  local minute = math.floor(now / 60000) .. ':'
  for name, number in pairs(counts) do redis.call('HINCRBY', stats, minute .. name, number) end
end
