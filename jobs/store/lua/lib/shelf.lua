-- a schedule as it is stored: a line of numbers (what it has done), a line with its rule, and the rest;
-- whoever changes one tells the schedulers, who read anew what is of another version
local function read_schedule(name)
  local stored = redis.call('HGET', schedules, name)
  if not stored then return false end
  local line, rest = string.match(stored, '^([^\n]*)\n(.*)$')
  local numbers = {}
  for number in string.gmatch(line, '%S+') do numbers[#numbers + 1] = tonumber(number) end
  return {revision = numbers[1], after = numbers[2], fired = numbers[3], skipped = numbers[4],
    held = numbers[5], last = numbers[6], paused = numbers[7]}, rest
end
local function state_line(s)
  return string.format('%.0f %.0f %.0f %.0f %.0f %.0f %.0f',
    s.revision, s.after, s.fired, s.skipped, s.held, s.last, s.paused)
end
local function write_schedule(name, s, rest)
  redis.call('HSET', schedules, name, state_line(s) .. '\n' .. rest)
end
local function tell_schedulers(name)
  local version = redis.call('HINCRBY', config, 'schedules', 1)
  redis.call('PUBLISH', channel, struct.pack('>H', 0) .. string.format('schedule %.0f %s', version, name))
end
