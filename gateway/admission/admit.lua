-- Admit one request: count its rate, look the cache up, check every budget, reserve in all or in none.
-- KEYS[1] rate counter, KEYS[2] cache entry (one that never is, where nothing is looked up),
-- KEYS[3] reservation, KEYS[4] epoch, KEYS[5..] budget windows
-- ARGV[1] requests a minute (-1: no limit)  ARGV[2] name for a new epoch
-- ARGV[3] milliseconds that a new epoch stays closed  ARGV[4] seconds that an idle window is kept
-- ARGV[5..] limit of each window, then amounts, falling: the first that fits is reserved
-- Answers: {'rate', count} {'hit', bytes, left} {'closed', milliseconds} {'seed', index} {'over', index, taken}
-- {'ok', epoch, amount, left}: left are the requests of this minute, -1 where nobody counted
-- A window is a hash {seed, spent, reserved}; one without a seed must be seeded from SQL first, so a Redis
-- that lost its data can never hand out money twice. It has lost its epoch as well: the new one stays closed
-- until every worker has had the time to say what it holds.
local windows = #KEYS - 4
local epoch, taken = '', {}
if windows > 0 then
  local found = redis.call('HMGET', KEYS[4], 'name', 'opens')
  if not found[1] or found[2] then
    local time = redis.call('TIME')
    local now = time[1] * 1000 + math.floor(time[2] / 1000)
    if not found[1] then
      redis.call('HSET', KEYS[4], 'name', ARGV[2], 'opens', string.format('%.0f', now + ARGV[3]))
      return {'closed', tonumber(ARGV[3])}
    end
    if now < tonumber(found[2]) then return {'closed', tonumber(found[2]) - now} end
    redis.call('HDEL', KEYS[4], 'opens')
  end
  epoch = found[1]
end
for i = 1, windows do
  local held = redis.call('HMGET', KEYS[4 + i], 'seed', 'spent', 'reserved')
  if not held[1] then return {'seed', i} end
  taken[i] = tonumber(held[1]) + tonumber(held[2] or '0') + tonumber(held[3] or '0')
end
-- The same request again: its answer was lost on the way, or nobody waits for it any more.
if windows > 0 and redis.call('EXISTS', KEYS[3]) == 1 then
  return {'ok', epoch, redis.call('HGET', KEYS[3], KEYS[5]) or '0', -1}
end
local rate, left = tonumber(ARGV[1]), -1
if rate >= 0 then
  local count = tonumber(redis.call('GET', KEYS[1]) or '0')
  if count >= rate then return {'rate', count} end
  left = rate - redis.call('INCR', KEYS[1])
  redis.call('EXPIRE', KEYS[1], 120)
end
local cached = redis.call('GET', KEYS[2])
if cached then return {'hit', cached, left} end
if windows == 0 then return {'ok', epoch, '0', left} end
local full
for a = 5 + windows, #ARGV do
  local amount = tonumber(ARGV[a])
  full = nil
  for i = 1, windows do
    if taken[i] + amount > tonumber(ARGV[4 + i]) then
      full = i
      break
    end
  end
  if not full then
    for i = 1, windows do
      redis.call('HINCRBY', KEYS[4 + i], 'reserved', ARGV[a])
      redis.call('EXPIRE', KEYS[4 + i], ARGV[4])
      redis.call('HSET', KEYS[3], KEYS[4 + i], ARGV[a])
    end
    return {'ok', epoch, ARGV[a], left}
  end
end
return {'over', full, string.format('%.0f', taken[full])}
