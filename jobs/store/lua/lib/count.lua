-- counters of this call, written once at its end; those of a function stand behind its name. They are
-- gathered as numbers, times by the millisecond: most jobs of a call share their function and theirs
local counts, times = {}, {}
local function within(set, name)
  local found = set[name]
  if not found then
    found = {}
    set[name] = found
  end
  return found
end
local function count(name, number, of)
  local mine = within(counts, name)
  mine[of or ''] = (mine[of or ''] or 0) + number
end
local function bucket(name, ms, of)
  local mine = within(within(times, name), of or '')
  mine[ms] = (mine[ms] or 0) + 1
end
local function write_counts()
  for name, functions in pairs(times) do
    for of, jobs in pairs(functions) do
      for ms, number in pairs(jobs) do
        count(name .. '_ms', ms * number, of)
        count(name .. ':' .. math.floor(math.log(ms + 1) / 0.34657359027997), number, of)
      end
    end
  end
  local minute = math.floor(now / 60000) .. ':'
  for name, functions in pairs(counts) do
    for of, number in pairs(functions) do
      redis.call('HINCRBY', stats, of == '' and minute .. name or minute .. name .. '|' .. of, number)
    end
  end
end
