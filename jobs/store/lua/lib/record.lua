-- the packed record of a job (the same format stands in store/record.py), read as that of a new job
-- when it is damaged, so that one record never stops a queue; the time of enqueue, which stands before
-- the envelope in a body, in whole ms; and the name of a job in `later`: jobs that are due in the same
-- millisecond are taken in the order of their sequence
local RECORD = '>HdHHHBddI4'
local RECORD_BYTES = struct.size(RECORD)
local SPAN = 4398046511104
local CANCEL_ASKED, HAS_HISTORY = 1, 2
local function pack_record(priority, token, failures, losses, interruptions, flags, sequence, available, size)
  return struct.pack(RECORD, priority, token, failures, losses, interruptions, flags, sequence, available, size or 0)
end
local function unpack_record(packed)
  if not packed or #packed ~= RECORD_BYTES then return 3, 0, 0, 0, 0, HAS_HISTORY, 0, 0, 0 end
  return struct.unpack(RECORD, packed)
end
local ENQUEUED, ENQUEUED_BYTES = '>I6', 6
local function enqueued_at(stored)
  return #stored >= ENQUEUED_BYTES and struct.unpack(ENQUEUED, stored) or now
end
local function late(sequence, id)
  return struct.pack('>d', sequence) .. id
end
