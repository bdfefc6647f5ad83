-- adds jobs that were checked to be new: the body always, a record only where defaults do not do
local bodies, due, readied = {}, {}, {}
local number = 0
local stamp = struct.pack(ENQUEUED, now)
local function add(id, data, priority, delay, at)
  bodies[#bodies + 1] = id
  bodies[#bodies + 1] = stamp .. data
  if at == 0 and delay > 0 then at = now + delay end
  number = number + 1
  if at > now then
    due[#due + 1] = {id, priority, number, at}
  else
    readied[#readied + 1] = priority * SPAN + number
    readied[#readied + 1] = id
  end
end
local function write_due(first)
  local records, scores = {}, {}
  for _, job in ipairs(due) do
    local id, priority, place, at = unpack(job)
    records[#records + 1] = id
    records[#records + 1] = pack_record(priority, 0, 0, 0, 0, 0, first + place, at)
    scores[#scores + 1] = at
    scores[#scores + 1] = late(first + place, id)
  end
  redis.call('HSET', record, unpack(records))
  redis.call('ZADD', later, unpack(scores))
  local head = redis.call('ZRANGE', later, 0, 0)[1]
  for i = 2, #scores, 2 do if scores[i] == head then ring() end end
end
local function write_added()
  if #bodies == 0 then return end
  redis.call('HSET', body, unpack(bodies))
  local first = redis.call('HINCRBY', config, 'sequence', number) - number
  if #due > 0 then write_due(first) end
  if #readied > 0 then
    for i = 1, #readied, 2 do readied[i] = readied[i] + first end
    redis.call('ZADD', ready, unpack(readied))
    ring()
  end
  redis.call('HINCRBY', stats, math.floor(now / 60000) .. ':enqueued', #bodies / 2)
end
