-- makes the id of an ended job free; false when a job that has not ended holds it
local KEPT = {completed = completed, failed = failed, cancelled = cancelled, expired = expired}
local function has_ended(id)
  return KEPT[state_of(id)] ~= nil
end
local function vacate(id)
  local state = state_of(id)
  if not KEPT[state] then return false end
  drop(state, KEPT[state], {id})
  return true
end
