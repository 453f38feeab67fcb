-- Say again what is held: a Redis that has forgotten it (another epoch, or none) takes it up anew.
-- KEYS[1] reservation  KEYS[2] epoch  KEYS[3..] windows
-- ARGV[1] amount  ARGV[2] name for a new epoch  ARGV[3] milliseconds that a new epoch stays closed
-- Answers the name of the epoch in which the reservation is held now.
local epoch = redis.call('HGET', KEYS[2], 'name')
if not epoch then
  local time = redis.call('TIME')
  local opens = time[1] * 1000 + math.floor(time[2] / 1000) + ARGV[3]
  epoch = ARGV[2]
  redis.call('HSET', KEYS[2], 'name', epoch, 'opens', string.format('%.0f', opens))
end
if redis.call('EXISTS', KEYS[1]) == 0 then
  for i = 3, #KEYS do
    redis.call('HINCRBY', KEYS[i], 'reserved', ARGV[1])
    redis.call('HSET', KEYS[1], KEYS[i], ARGV[1])
  end
end
return epoch
