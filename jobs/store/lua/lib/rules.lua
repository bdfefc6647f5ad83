-- the rules of limits as they are stored, by scope: `q` the queue, `k` each key, `f:` and `fk:` a function and
-- each of its keys, `s:` a limit of several; and the functions that are paused
local rules, shut = nil, {}
local function rule_of(text)
  local kind, limit, period, name = string.match(text, '^(%a)(%d*)/?(%d*)@?(.*)$')
  return {kind = kind, limit = kind == 'o' and 1 or tonumber(limit), period = tonumber(period), shared = name ~= '' and name}
end
local function read_rules()
  rules = {}
  local flat = redis.call('HGETALL', limits)
  for i = 1, #flat, 2 do
    local scope = flat[i]
    if string.sub(scope, 1, 2) == 'p:' then
      shut['f:' .. string.sub(scope, 3)] = true
    else
      for text in string.gmatch(flat[i + 1], '%S+') do
        local rule = rule_of(text)
        local at = rule.shared and 's:' .. rule.shared or scope
        rules[at] = rules[at] or {}
        if rule.shared then
          rules[scope] = rules[scope] or {}
          rules[scope].names = rules[scope].names or {}
          rules[scope].names[at] = true
        end
        rules[at][#rules[at] + 1] = rule
      end
    end
  end
end
-- the order of a key is a gate of its own, which a job keeps while it waits for its next attempt
local function order_gate(gate, mine)
  for _, rule in ipairs(mine) do
    if rule.kind == 'o' then return 'o:' .. string.match(gate, ':(.*)$') end
  end
end
local function rules_of(gate)
  local kind, rest = string.match(gate, '^(%a+):(.*)$')
  if kind == 'o' then
    local of = string.match(rest, '^([^\2]*)\2')
    return order_gate(gate, rules[of and 'fk:' .. of or 'k'] or {}) and {{kind = 'c', limit = 1}} or {}
  end
  if kind == 'k' then return rules.k or {} end
  if kind == 'fk' then return rules['fk:' .. string.match(rest, '^[^\2]*')] or {} end
  if kind == 'u' then return {{kind = 'c', limit = 1}} end
  return rules[gate] or {}
end
-- starts are forgotten when no rule of their gate counts them any more
local function period_of(mine)
  local longest, shared = 0, false
  for _, rule in ipairs(mine) do
    if rule.kind == 'r' then longest, shared = math.max(longest, rule.period), rule.shared end
  end
  return longest, shared
end
local function forget_before(set, gate, period)
  redis.call('ZREMRANGEBYLEX', set, '[' .. gate .. '\1', '(' .. gate .. '\1' .. struct.pack('>d', now - period + 1))
end
local function forget_starts(gate, mine)
  local longest, shared = period_of(mine)
  if longest > 0 then forget_before(shared and shared_starts or starts, gate, longest) end
end
