local function fits(id)
  local millis, counter = id:match('^(%d+)-(%d+)$')
  return tonumber(millis) < 2^44 and tonumber(counter) < 2^20
end
local function epoch_of(entry)
  for at = 1, #entry[2], 2 do
    local value = entry[2][at + 1]
    if entry[2][at] == 'e' and #value == 16 and not value:find('%X') then return value end
  end
end
local function add(...)
  local id = redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[3], '*', ...)
  if fits(id) then return id end
  redis.call('XDEL', KEYS[1], id)
  local next = string.format('%.0f-0', tonumber(id:match('^%d+')) + 1)
  if fits(next) then return redis.call('XADD', KEYS[1], next, ...) end
end
local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
local epoch, id
if last and not fits(last[1]) then
  return redis.error_reply('ERR the stream ends with an id that does not fit: ' .. last[1])
end
if last and ARGV[2] ~= last[1] then
  id = last[1]
  epoch = epoch_of(last)
  if not epoch then
    for _, entry in ipairs(redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1000)) do
      epoch = epoch or epoch_of(entry)
    end
  end
end
if not epoch then
  epoch = ARGV[1]
  id = add('e', epoch, 'p', '0-0', 'a', ARGV[4])
end
for at = 5, #ARGV do
  id = id and add('e', epoch, 'p', id, 'r', ARGV[at])
end
if not id then return redis.error_reply('ERR the stream has no id left that fits') end
if not KEYS[2] then return {epoch, id} end
local function found(...)
  local found = redis.pcall(...)
  if found.err then return {} end
  return found
end
local time = redis.call('TIME')
local ack = found('XREVRANGE', KEYS[3], '+', '-', 'COUNT', 1)[1]
return {
  epoch, id, string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000)),
  ack and ack[1] or '0-0', found('HGETALL', KEYS[2]),
}
