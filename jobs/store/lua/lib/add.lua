-- adds jobs that were checked to be new: the body always, a record only where defaults do not do.
-- `ageing` is the queue's: a job stands in line as if a lower priority had made it come so much later
local bodies, due, readied, lined = {}, {}, {}, {}
local number, ageing = 0, 0
local added = {}
local stamp = struct.pack(ENQUEUED, now)
local function add(id, data, priority, delay, at, tail)
  bodies[#bodies + 1] = id
  bodies[#bodies + 1] = stamp .. data
  local of = string.sub(data, 7, 6 + (string.byte(data, 6) or 0))
  added[of] = (added[of] or 0) + 1
  tell('added', id, of)
  if at == 0 and delay > 0 then at = now + delay end
  number = number + 1
  if at > now then
    tell('delayed', id, text_of(at))
    due[#due + 1] = {id, priority, number, at, tail}
  else
    tell('waiting', id, '')
    if tail or ageing > 0 then
      lined[#lined + 1] = {id, priority, number, tail}
    else
      readied[#readied + 1] = priority * SPAN + number
      readied[#readied + 1] = id
    end
  end
end
local function write_due(first)
  local records, scores = {}, {}
  for _, job in ipairs(due) do
    local id, priority, place, at, tail = unpack(job)
    records[#records + 1] = id
    records[#records + 1] = pack_record(priority, 0, 0, 0, 0, 0, first + place, at, 0, tail)
    scores[#scores + 1] = at
    scores[#scores + 1] = late(first + place, id)
  end
  redis.call('HSET', record, unpack(records))
  redis.call('ZADD', later, unpack(scores))
  local head = redis.call('ZRANGE', later, 0, 0)[1]
  for i = 2, #scores, 2 do if scores[i] == head then ring() end end
end
local function aged(priority, sequence)
  return now + (priority - 1) * ageing + sequence % 2048 / 2048
end
-- `line_up_all`: puts jobs with tails into their lines; only scripts that know groups have it
local function write_lined(first, line_up_all)
  local records, alone, ids, scores, groups = {}, {}, {}, {}, {}
  local flags = ageing > 0 and AGED or 0
  for n = 1, #lined do
    local id, priority, place, tail = unpack(lined[n])
    local sequence = ageing > 0 and aged(priority, first + place) or first + place
    local score = score_of(priority, flags, sequence)
    records[2 * n - 1] = id
    records[2 * n] = pack_record(priority, 0, 0, 0, 0, flags, sequence, now, 0, tail)
    if tail then
      local at = #ids + 1
      ids[at], scores[at], groups[at] = id, score, string.sub(tail, 1, string.find(tail, '\0', 1, true) - 1)
    else
      alone[#alone + 1] = score
      alone[#alone + 1] = id
    end
  end
  redis.call('HSET', record, unpack(records))
  if #alone > 0 then redis.call('ZADD', ready, unpack(alone)) end
  if #ids > 0 then line_up_all(ids, scores, groups) end
  ring()
end
local function write_added(line_up_all)
  if #bodies == 0 then return end
  redis.call('HSET', body, unpack(bodies))
  local first = redis.call('HINCRBY', config, 'sequence', number) - number
  if #due > 0 then write_due(first) end
  if #lined > 0 then write_lined(first, line_up_all) end
  if #readied > 0 then
    for i = 1, #readied, 2 do readied[i] = readied[i] + first end
    redis.call('ZADD', ready, unpack(readied))
    ring()
  end
  local minute = math.floor(now / 60000) .. ':enqueued'
  for of, times in pairs(added) do
    redis.call('HINCRBY', stats, of == '' and minute or minute .. '|' .. of, times)
  end
end
