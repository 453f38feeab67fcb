-- Settle one reservation: free what it holds in every window, book what was spent. A second call finds
-- nothing. The windows are read from the reservation itself; all of them share the organisation's slot.
-- A reservation that is not there, made in another epoch than this one, was forgotten by Redis: what was
-- spent is booked in KEYS[3..] all the same.
-- One that was asked for and whose answer nobody heard has no epoch: if the asking is still on its way, it
-- finds its place taken ('gone') and holds nothing.
-- KEYS[1] reservation  KEYS[2] epoch  KEYS[3..] windows
-- ARGV[1] spent  ARGV[2] epoch of the reservation, or ''  ARGV[3] 1 if SQL has it already
local held = redis.call('HGETALL', KEYS[1])
if held[1] == 'gone' then return 0 end
if #held == 0 then
  if ARGV[2] == '' then
    redis.call('HSET', KEYS[1], 'gone', '1')
    redis.call('EXPIRE', KEYS[1], 120)
    return 0
  end
  local epoch = redis.call('HGET', KEYS[2], 'name')
  -- Without an epoch nothing is seeded yet, and what is settled is in SQL before anything will be.
  if not epoch or epoch == ARGV[2] then return 0 end
  for i = 3, #KEYS do
    if ARGV[3] == '0' or redis.call('HEXISTS', KEYS[i], 'seed') == 1 then
      redis.call('HINCRBY', KEYS[i], 'spent', ARGV[1])
    end
  end
  return 2
end
for i = 1, #held, 2 do
  -- '-0' is no number to HINCRBY.
  if held[i + 1] ~= '0' then redis.call('HINCRBY', held[i], 'reserved', '-' .. held[i + 1]) end
  redis.call('HINCRBY', held[i], 'spent', ARGV[1])
end
redis.call('DEL', KEYS[1])
return 1
