"""The limits of one request in one step on a Redis or Valkey server, by the server's own clock.

The same arithmetic as :mod:`keywright.verifier.limits.windows`, in microseconds. A window is a hash: ``n`` is how many
requests count, ``o`` and ``s`` are the oldest and newest slot with a request, and each slot holds how many came in
it. The hash goes by itself when its newest slot has left the window.
"""

__all__ = ["SCRIPT"]

# KEYS: one for each limit. ARGV: for each limit how many requests, and the window in seconds.
# Returns: seconds until the request would pass (0: it was charged), then for each limit what is left and in how many
# seconds more will be. Numbers are written down by text(), because the server may write large ones as 1e+11. No loop
# goes beyond the newest slot, so a hash that somebody else has written to cannot hold up the server.
SCRIPT = """
local SLOTS = 50
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local windows, is_full, longest = {}, false, 0

local function text(number) return string.format('%.0f', number) end
local function count(key, slot) return tonumber(redis.call('HGET', key, text(slot)) or 0) end

for i, key in ipairs(KEYS) do
  local requests, seconds = tonumber(ARGV[2 * i - 1]), tonumber(ARGV[2 * i])
  local width = seconds * 1000000 / SLOTS
  local slot = math.floor(now / width)
  local known = redis.call('HMGET', key, 'n', 'o', 's')
  local total, oldest, newest = tonumber(known[1] or 0), tonumber(known[2] or 0), tonumber(known[3] or -1)
  if newest > slot + SLOTS then
    -- The clock was set back by more than a window: what was counted in the future would stay for long.
    redis.call('DEL', key)
    total, newest = 0, -1
  elseif newest > slot then
    slot = newest
  end
  if total > 0 and oldest < slot - SLOTS then
    while oldest <= newest do
      local came = count(key, oldest)
      if came > 0 and oldest >= slot - SLOTS then break end
      total = total - came
      redis.call('HDEL', key, text(oldest))
      oldest = oldest + 1
    end
    if oldest > newest then total = 0 end
    redis.call('HSET', key, 'n', text(total), 'o', text(oldest))
  end
  is_full = is_full or total >= requests
  windows[i] = {requests = requests, seconds = seconds, width = width,
                slot = slot, total = total, oldest = oldest, newest = newest}
end

local reply = {0}
for i, key in ipairs(KEYS) do
  local w = windows[i]
  local returns = w.oldest
  if not is_full then
    if w.total == 0 then
      returns = w.slot
      redis.call('HSET', key, 'o', text(w.slot))
    end
    w.total = redis.call('HINCRBY', key, 'n', 1)
    redis.call('HINCRBY', key, text(w.slot), 1)
    if w.slot ~= w.newest then
      redis.call('HSET', key, 's', text(w.slot))
      redis.call('PEXPIREAT', key, text(math.ceil((w.slot + 1 + SLOTS) * w.width / 1000)))
    end
  elseif w.total >= w.requests then
    local left = w.total - count(key, returns)
    while left >= w.requests and returns < w.newest do
      returns = returns + 1
      left = left - count(key, returns)
    end
  end
  local wait = w.seconds
  if w.total > 0 then wait = math.ceil(((returns + 1 + SLOTS) * w.width - now) / 1000000) end
  if is_full and w.total >= w.requests then longest = math.max(longest, wait) end
  reply[2 * i] = math.max(0, w.requests - w.total)
  reply[2 * i + 1] = wait
end
reply[1] = longest
return reply
"""
