-- events of this call, written as one entry of the stream at its end, and only if somebody listens;
-- each is 1 byte of the length of its name, 2 of that of the id, 4 of that of the data, then these
local EVENTS = 10000
local told = {}
local listening
local function hears()
  if listening == nil then
    listening = tonumber(redis.call('HGET', config, 'listened') or '0') > now
  end
  return listening
end
local function tell(name, id, data)
  if hears() then told[#told + 1] = struct.pack('>BHI4', #name, #id, #data) .. name .. id .. data end
end
local function write_events()
  if #told > 0 then redis.call('XADD', events, 'MAXLEN', '~', EVENTS, '*', 'e', table.concat(told)) end
end
