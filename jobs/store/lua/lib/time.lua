-- now: the server's clock in ms, unless a test passed its own (a number other than 0)
if now == 0 then
  local time = redis.call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
end
