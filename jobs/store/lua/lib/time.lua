-- now: the server's clock in ms, unless a test passed its own (a number other than 0)
if now == 0 then
  local time = redis.call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
end
-- a moment as text, made once for the many arguments that carry it
local texts = {}
local function text_of(ms)
  texts[ms] = texts[ms] or string.format('%.0f', ms)
  return texts[ms]
end
