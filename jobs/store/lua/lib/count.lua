-- counters of this call, written once at its end; those of a function stand behind its name
local counts = {}
local function count(name, number, of)
  local field = of and of ~= '' and name .. '|' .. of or name
  counts[field] = (counts[field] or 0) + number
end
local buckets = {}
local function bucket(name, ms, of)
  buckets[ms] = buckets[ms] or ':' .. math.floor(math.log(ms + 1) / 0.34657359027997)
  count(name .. '_ms', ms, of)
  count(name .. buckets[ms], 1, of)
end
local function write_counts()
  local minute = math.floor(now / 60000) .. ':'
  for name, number in pairs(counts) do redis.call('HINCRBY', stats, minute .. name, number) end
end
