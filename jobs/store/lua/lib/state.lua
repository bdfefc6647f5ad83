-- the state of one job, or false when the queue does not hold it
local STATES = {
  {'active', leases}, {'waiting', ready}, {'delayed', later}, {'completed', completed},
  {'failed', failed}, {'cancelled', cancelled}, {'expired', expired}, {'parked', parked}}
local function state_of(id)
  for i = 1, #STATES do
    if redis.call('ZSCORE', STATES[i][2], id) then return STATES[i][1] end
  end
  return false
end
