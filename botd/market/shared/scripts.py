"""What is done in Redis at one stroke: who leads, what is wanted, and writing only while the lease is one's own.

Keys of a kind that is not ours are removed by the scripts that need them. They know no candle and no price.
"""

from __future__ import annotations

HEALTHY = """
local function sweep(key, kind)
  local found = redis.call('TYPE', key).ok
  if found ~= 'none' and found ~= kind then redis.call('UNLINK', key) end
end
"""

# leader, epoch, wanted | who ("nonce name"), lease ms, the lowest epoch to take, whether to stand
# -> {who holds the lease ("epoch nonce name", or empty), what is wanted}
BEAT = (
    HEALTHY
    + """
sweep(KEYS[1], 'string') sweep(KEYS[2], 'string') sweep(KEYS[3], 'zset')
local left = redis.call('PTTL', KEYS[1])
if left == -1 or left > 60000 then redis.call('UNLINK', KEYS[1]) end
local held = redis.call('GET', KEYS[1])
if held and string.sub(held, -#ARGV[1] - 1) == ' ' .. ARGV[1] then
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
elseif not held and ARGV[4] == '1' then
  local epoch = tonumber(ARGV[3])
  local last = tonumber(redis.call('GET', KEYS[2]) or '') or 0
  if last >= epoch and last < epoch + 86400000 then epoch = last + 1 end
  local number = string.format('%.0f', epoch)
  held = number .. ' ' .. ARGV[1]
  redis.call('SET', KEYS[2], number)
  redis.call('SET', KEYS[1], held, 'NX', 'PX', ARGV[2])
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', string.format('%.0f', now))
redis.call('ZREMRANGEBYSCORE', KEYS[3], string.format('%.0f', now + 3600000), '+inf')
return {held or '', redis.call('ZRANGE', KEYS[3], 0, 4999)}
"""
)

# leader | our lease as it stands there, commands in msgpack
# -> {0}: it is not ours any more; {1, index, error, ...}: done, but for the commands that failed
FENCED = """
local held = redis.pcall('GET', KEYS[1])
if held ~= ARGV[1] then return {0} end
local failed = {1}
for index, command in ipairs(cmsgpack.unpack(ARGV[2])) do
  local answer = redis.pcall(unpack(command))
  if type(answer) == 'table' and answer.err then
    failed[#failed + 1] = index - 1
    failed[#failed + 1] = answer.err
  end
end
return failed
"""

# leader | our lease
RELEASE = "if redis.pcall('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0"

# wanted | for how many ms, lanes ...
WANT = (
    HEALTHY
    + """
sweep(KEYS[1], 'zset')
local time = redis.call('TIME')
local till = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000) + ARGV[1])
for index = 2, #ARGV do redis.call('ZADD', KEYS[1], till, ARGV[index]) end
redis.call('PEXPIRE', KEYS[1], 3600000)
return #ARGV - 1
"""
)
