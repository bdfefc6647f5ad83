-- the state of one job, its name in that state's set, its score there, and the set; false when the
-- queue does not hold it
local STATES = {
  {'active', leases}, {'waiting', ready}, {'completed', completed}, {'failed', failed},
  {'cancelled', cancelled}, {'expired', expired}, {'parked', parked}}
local function state_of(id)
  for i = 1, #STATES do
    local score = redis.call('ZSCORE', STATES[i][2], id)
    if score then return STATES[i][1], id, score, STATES[i][2] end
  end
  local packed = redis.call('HGET', record, id)
  if not packed then return false end
  local priority, _, _, _, _, flags, sequence = unpack_record(packed)
  local name = late(sequence, id)
  local due = redis.call('ZSCORE', later, name)
  if due then return 'delayed', name, due, later end
  local group = flow_of(packed)
  if group == '' then return false end
  local score = score_of(priority, flags, sequence)
  name = group .. '\1' .. struct.pack('>d', score) .. id
  if redis.call('ZSCORE', grouped, name) then
    return 'waiting', name, string.format('%.17g', score), grouped
  end
  return false
end
