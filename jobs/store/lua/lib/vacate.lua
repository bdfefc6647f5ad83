-- makes the id of an ended job free; false when a job that has not ended holds it
local function vacate(id)
  local state = state_of(id)
  local zset = state and ({completed = completed, failed = failed, cancelled = cancelled, expired = expired})[state]
  if not zset then return false end
  drop(state, zset, {id})
  return true
end
