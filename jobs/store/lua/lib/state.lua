-- the state of one job and its name in that state's set, or false when the queue does not hold it
local STATES = {
  {'active', leases}, {'waiting', ready}, {'completed', completed}, {'failed', failed},
  {'cancelled', cancelled}, {'expired', expired}, {'parked', parked}}
local function state_of(id)
  for i = 1, #STATES do
    if redis.call('ZSCORE', STATES[i][2], id) then return STATES[i][1], id end
  end
  local packed = redis.call('HGET', record, id)
  if not packed then return false end
  local _, _, _, _, _, _, sequence = unpack_record(packed)
  local name = late(sequence, id)
  if redis.call('ZSCORE', later, name) then return 'delayed', name end
  return false
end
