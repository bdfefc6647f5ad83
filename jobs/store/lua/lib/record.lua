-- the packed record of a job (the same format stands in store/record.py), read as that of a new job
-- when it is damaged, so that one record never stops a queue; the time of enqueue, which stands before
-- the envelope in a body, in whole ms; and the name of a job in `later`: jobs that are due in the same
-- millisecond are taken in the order of their sequence. Behind the record of a job that takes part in
-- limits, groups or uniqueness stands its tail: group, key, unique key, gates whose places it holds
local RECORD = '>HdHHHBddI4'
local RECORD_BYTES = struct.size(RECORD)
local SPAN = 4398046511104
local CANCEL_ASKED, HAS_HISTORY, HOLDS, AGED = 1, 2, 4, 8
local function pack_record(priority, token, failures, losses, interruptions, flags, sequence, available, size, tail)
  return struct.pack(RECORD, priority, token, failures, losses, interruptions, flags, sequence, available, size or 0)
    .. (tail or '')
end
local function unpack_record(packed)
  if not packed or #packed < RECORD_BYTES then return 3, 0, 0, 0, 0, HAS_HISTORY, 0, 0, 0 end
  return struct.unpack(RECORD, packed)
end
local ENQUEUED, ENQUEUED_BYTES = '>I6', 6
local function enqueued_at(stored)
  return #stored >= ENQUEUED_BYTES and struct.unpack(ENQUEUED, stored) or now
end
local function late(sequence, id)
  return struct.pack('>d', sequence) .. id
end

local function tail_of(packed)
  return packed and #packed > RECORD_BYTES and string.sub(packed, RECORD_BYTES + 1) or ''
end
local function flow_of(packed)
  if not packed or #packed <= RECORD_BYTES then return '', '', '', '' end
  local group, key, own, gates = string.match(packed, '^([^%z]*)%z([^%z]*)%z([^%z]*)%z(.*)$', RECORD_BYTES + 1)
  return group or '', key or '', own or '', gates or ''
end
local function score_of(priority, flags, sequence)
  return bit.band(flags, AGED) > 0 and sequence or priority * SPAN + sequence
end
local function function_of(stored)
  local length = stored and string.byte(stored, ENQUEUED_BYTES + 6)
  return length and string.sub(stored, ENQUEUED_BYTES + 7, ENQUEUED_BYTES + 6 + length) or ''
end
