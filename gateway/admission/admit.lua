-- Admit one request: count its rate, look the cache up, check every budget, reserve in all or in none.
-- KEYS[1] rate counter or '', KEYS[2] cache entry or '', KEYS[3] reservation, KEYS[4..] budget windows
-- ARGV[1] requests a minute (-1: no limit)  ARGV[2] amount  ARGV[3..] limit of each window
-- Answers: {'rate', count} {'hit', bytes} {'seed', index} {'over', index, taken} {'ok'}
-- A window is a hash {spent, reserved}; one that Redis does not know must be seeded from SQL first,
-- so a Redis that lost its data can never hand out money twice.
local windows = #KEYS - 3
for i = 1, windows do
  if redis.call('EXISTS', KEYS[3 + i]) == 0 then return {'seed', i} end
end
local rate = tonumber(ARGV[1])
if rate >= 0 then
  local count = tonumber(redis.call('GET', KEYS[1]) or '0')
  if count >= rate then return {'rate', count} end
  redis.call('INCR', KEYS[1])
  redis.call('EXPIRE', KEYS[1], 120)
end
if KEYS[2] ~= '' then
  local cached = redis.call('GET', KEYS[2])
  if cached then return {'hit', cached} end
end
if windows == 0 then return {'ok'} end
local amount = tonumber(ARGV[2])
for i = 1, windows do
  local held = redis.call('HMGET', KEYS[3 + i], 'spent', 'reserved')
  local taken = tonumber(held[1]) + tonumber(held[2])
  if taken + amount > tonumber(ARGV[2 + i]) then return {'over', i, string.format('%.0f', taken)} end
end
for i = 1, windows do
  redis.call('HINCRBY', KEYS[3 + i], 'reserved', ARGV[2])
  redis.call('HSET', KEYS[3], KEYS[3 + i], ARGV[2])
end
return {'ok'}
