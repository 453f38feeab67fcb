-- Settle one reservation: free what it holds, book what was spent. A second call finds nothing.
-- KEYS[1] reservation, KEYS[2..] its windows   ARGV[1] spent
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
for i = 2, #KEYS do
  local held = redis.call('HGET', KEYS[1], KEYS[i])
  if held then
    redis.call('HINCRBY', KEYS[i], 'reserved', '-' .. held)
    redis.call('HINCRBY', KEYS[i], 'spent', ARGV[1])
  end
end
redis.call('DEL', KEYS[1])
return 1
