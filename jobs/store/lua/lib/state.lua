-- the state of one job, its name in that state's set and its score there; false when the queue does
-- not hold it
local STATES = {
  {'active', leases}, {'waiting', ready}, {'completed', completed}, {'failed', failed},
  {'cancelled', cancelled}, {'expired', expired}, {'parked', parked}}
local function state_of(id)
  for i = 1, #STATES do
    local score = redis.call('ZSCORE', STATES[i][2], id)
    if score then return STATES[i][1], id, score end
  end
  local packed = redis.call('HGET', record, id)
  if not packed then return false end
  local _, _, _, _, _, _, sequence = unpack_record(packed)
  local name = late(sequence, id)
  local due = redis.call('ZSCORE', later, name)
  if due then return 'delayed', name, due end
  return false
end
