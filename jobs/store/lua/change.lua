#!lua
-- Edits a job that neither runs nor has ended: its body, its priority, the time at which it is due.
-- keys: ready grouped turns later leases body record completed failed cancelled expired parked config unique events wake
-- args: now:int id:str own:str data:str priority:int due:int delay:int most:int
--   own: only if the job still has this unique key ('': whatever it has)
--   data: the new envelope, bound to the same id ('': as it is); the time of the enqueue stays
--   priority: 0 as it is
--   due: when it may run, in ms: -1 as it is, 0 now; or by `delay`, ms from now (-1: by `due`)
--   most: not due later than this many ms after its enqueue (0: no limit)
-- returns: the state in which the job was found ('' unknown), 1 if it was changed, else 0: it runs or has
--   ended, the unique key is not its own, or it is parked, which knows no time
-- include: time record tell wake state place move
local state, _, score = state_of(id)
local changes = state == 'waiting' or state == 'delayed' or (state == 'parked' and due < 0 and delay < 0)
local stored = changes and redis.call('HGET', body, id)
if not stored or (own ~= '' and redis.call('HGET', unique, own) ~= id) then return {state or '', 0} end
if delay >= 0 then due = now + delay end
if due > 0 and most > 0 then due = math.min(due, enqueued_at(stored) + most) end
local packed = record_of(id, score, stored)
local before, token, failures, losses, interruptions, flags, sequence, available = unpack_record(packed)
local tail = tail_of(packed)
if priority == 0 then priority = before end
if data ~= '' then redis.call('HSET', body, id, string.sub(stored, 1, ENQUEUED_BYTES) .. data) end
local stays = due < 0 or (state == 'waiting' and due <= now)
if stays and state == 'waiting' and priority ~= before then
  local is_aged = bit.band(flags, AGED) > 0 or redis.call('HEXISTS', config, 'ageing') == 1
  if is_aged then sequence, flags = last_place(priority, flags, available) end
end
if state ~= 'parked' then take_out(id) end
packed = pack_record(priority, token, failures, losses, interruptions, flags, sequence, available, 0, tail)
if state == 'parked' then
  redis.call('HSET', record, id, packed)
elseif stays and state == 'waiting' then
  redis.call('HSET', record, id, packed)
  line_up(id, packed)
elseif stays or due > now then
  wait_until(id, packed, stays and tonumber(score) or due)
else
  wait_now(id, packed)
end
write_events()
return {state, 1}
