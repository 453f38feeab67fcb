-- Settle one reservation: free what it holds in every window, book what was spent. A second call finds
-- nothing. The windows are read from the reservation itself, so that whoever replays a dead worker's
-- journal can settle with the request's id alone; all of them share the organisation's slot.
-- KEYS[1] reservation   ARGV[1] spent
local held = redis.call('HGETALL', KEYS[1])
if #held == 0 then return 0 end
for i = 1, #held, 2 do
  redis.call('HINCRBY', held[i], 'reserved', '-' .. held[i + 1])
  redis.call('HINCRBY', held[i], 'spent', ARGV[1])
end
redis.call('DEL', KEYS[1])
return 1
