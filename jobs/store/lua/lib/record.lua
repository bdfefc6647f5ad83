-- the packed record of a job (the same format stands in store/record.py), and its name in `later`:
-- jobs that are due in the same millisecond are taken in the order of their sequence
local RECORD = '>HdHHHBdd'
local SPAN = 4398046511104
local CANCEL_ASKED, HAS_HISTORY = 1, 2
local function pack_record(priority, token, failures, losses, interruptions, flags, sequence, available)
  return struct.pack(RECORD, priority, token, failures, losses, interruptions, flags, sequence, available)
end
local function late(sequence, id)
  return struct.pack('>d', sequence) .. id
end
