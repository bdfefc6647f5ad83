#!lua
-- Keeps what running jobs tell of themselves: their progress, and lines of their logs.
-- keys: leases record progress logs config events
-- args: now:int most_lines:int most_bytes:int rest:list
--   most_lines, most_bytes: what is kept of the log of one job, the oldest dropped first
--   rest, six a job: id, token, progress as JSON ('' for none new), lines of the log (each with its
--     end), how many of them, how many the attempt had written before them
-- returns: one character a job: 1 kept, 0 the lease is not the caller's
-- include: time record tell
-- The first line of a log says how many lines are kept, how many were dropped, and how many the
-- attempt with which token has written: lines that are sent again are passed over
local HEADER = '%d %d %.0f %d\n'
local function without(lines, number)
  local at = 1
  for _ = 1, number do at = string.find(lines, '\n', at, true) + 1 end
  return string.sub(lines, at)
end
local function newest(lines, number)
  local at, cut = 1, 0
  while number - cut > 1 and (number - cut > most_lines or #lines - at >= most_bytes) do
    at, cut = string.find(lines, '\n', at, true) + 1, cut + 1
  end
  return string.sub(lines, at), cut
end
local function append(id, token, lines, number, before)
  local log = redis.call('HGET', logs, id)
  local kept, dropped, writer, written, held = string.match(log or '', '^(%d+) (%d+) (%d+) (%d+)\n(.*)$')
  kept, dropped, held = tonumber(kept or 0), tonumber(dropped or 0), held or ''
  written = tonumber(writer) == token and tonumber(written) or 0
  local known = math.min(number, math.max(0, written - before))
  if known == number then return false end
  local cut
  kept = kept + number - known
  held, cut = newest(held .. without(lines, known), kept)
  -- lines that the worker itself had to drop before they were sent are only counted
  dropped = dropped + cut + math.max(0, before - written)
  redis.call('HSET', logs, id, string.format(HEADER, kept - cut, dropped, token, before + number) .. held)
  return true
end
local FIELDS = 6
local verdicts = {}
for i = rest, #ARGV, FIELDS do
  local id, token = ARGV[i], tonumber(ARGV[i + 1])
  local value, lines, number, before = ARGV[i + 2], ARGV[i + 3], tonumber(ARGV[i + 4]), tonumber(ARGV[i + 5])
  local packed = redis.call('ZSCORE', leases, id) and redis.call('HGET', record, id)
  local mine = packed and select(2, unpack_record(packed)) == token
  verdicts[#verdicts + 1] = mine and '1' or '0'
  if mine and value ~= '' then
    redis.call('HSET', progress, id, value)
    tell('progress', id, '{"progress":' .. value .. '}')
  end
  if mine and number > 0 and append(id, token, lines, number, before) then tell('log', id, '') end
end
write_events()
return table.concat(verdicts)
