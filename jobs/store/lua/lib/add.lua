-- adds jobs that were checked to be new: the body always, a record only where defaults do not do
local bodies, records, due = {}, {}, {}
local readied = {}
local stamp = struct.pack('>d', now)
local function add(id, data, priority, delay, at)
  bodies[#bodies + 1] = id
  bodies[#bodies + 1] = stamp .. data
  if at == 0 and delay > 0 then at = now + delay end
  if at > now then
    due[#due + 1] = at
    due[#due + 1] = id
    records[#records + 1] = id
    records[#records + 1] = pack_record(priority, 0, 0, 0, 0, 0, 0, at)
  else
    readied[#readied + 1] = priority * SPAN
    readied[#readied + 1] = id
  end
end
local function write_added()
  if #bodies == 0 then return end
  redis.call('HSET', body, unpack(bodies))
  if #due > 0 then
    redis.call('HSET', record, unpack(records))
    redis.call('ZADD', later, unpack(due))
    local head = redis.call('ZRANGE', later, 0, 0)[1]
    for i = 2, #due, 2 do if due[i] == head then ring() end end
  end
  if #readied > 0 then
    local last = redis.call('HINCRBY', config, 'sequence', #readied / 2)
    local first = last - #readied / 2
    for i = 1, #readied, 2 do readied[i] = readied[i] + first + (i + 1) / 2 end
    redis.call('ZADD', ready, unpack(readied))
    ring()
  end
  redis.call('HINCRBY', stats, math.floor(now / 60000) .. ':enqueued', #bodies / 2)
end
