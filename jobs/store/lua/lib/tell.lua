-- events of this call, written at its end as one entry of the stream, and only while somebody listens.
-- Entry: `t` the time in ms, `e` the events, each 1 byte of the length of its name, 2 of that of the id
-- of its job, 4 of that of the data, then these three; data is JSON, or '' for none.
-- Events are numbered in `config`, and the id of an entry is the number of its last event: so the bound
-- counts events whatever their entries carry, and a reader sees from the numbers alone what it missed.
-- Data of more than LARGEST bytes, such as a large result, is left out and only its size is told
local EVENTS, LARGEST = 10000, 16384
local told, told_number, heads = {}, 0, {}
local listening
local function tell(name, id, data)
  if listening == nil then listening = tonumber(redis.call('HGET', config, 'listened') or '0') > now end
  if not listening then return end
  if #data > LARGEST then data = '{"large":' .. #data .. '}' end
  local known = heads[name]
  if not known then
    known = {}
    heads[name] = known
  end
  local sizes = #id * 65536 + #data
  known[sizes] = known[sizes] or struct.pack('>BHI4', #name, #id, #data) .. name
  local at = 3 * told_number
  told[at + 1], told[at + 2], told[at + 3] = known[sizes], id, data
  told_number = told_number + 1
end
local function write_events()
  if told_number == 0 then return 0 end
  local last = redis.call('HINCRBY', config, 'told', told_number)
  redis.call('XADD', events, 'MINID', '~', string.format('%.0f', last - EVENTS), string.format('%.0f', last),
    't', string.format('%.0f', now), 'e', table.concat(told))
  return last
end
