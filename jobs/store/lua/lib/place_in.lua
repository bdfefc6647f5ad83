-- where a place lies in a sorted set, also when nothing stands there any more: how many stand before
-- it, or with `itself` not behind it. Members of one score are in the order of their bytes, which is
-- not that of Lua's `<` in every locale
local function is_before(one, other)
  for i = 1, math.min(#one, #other) do
    local a, b = string.byte(one, i), string.byte(other, i)
    if a ~= b then return a < b end
  end
  return #one < #other
end
local function place_in(zset, score, member, itself)
  local low = redis.call('ZCOUNT', zset, '-inf', '(' .. score)
  local high = redis.call('ZCOUNT', zset, '-inf', score)
  while low < high do
    local middle = math.floor((low + high) / 2)
    local found = redis.call('ZRANGE', zset, middle, middle)[1]
    if is_before(found, member) or (itself and found == member) then low = middle + 1 else high = middle end
  end
  return low
end
