#!lua flags=allow-oom
-- Ends what `once_begin` began: done for a time, or free again. Touches nothing of another's.
-- keys: marker
-- args: owner:str token:int done_ms:int
-- returns: 1 if it was the caller's, else 0
local held = redis.call('GET', marker)
if held and held ~= string.format('%d ', token) .. owner then return 0 end
if done_ms > 0 then
  redis.call('SET', marker, 'done', 'PX', done_ms)
else
  redis.call('DEL', marker)
end
return 1
