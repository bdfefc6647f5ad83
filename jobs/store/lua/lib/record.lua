-- the packed record of a job; the same format stands in store/record.py
local RECORD = '>HI4HHHBdd'
local SPAN = 4398046511104
local function pack_record(priority, token, failures, losses, interruptions, flags, sequence, available)
  return struct.pack(RECORD, priority, token, failures, losses, interruptions, flags, sequence, available)
end
