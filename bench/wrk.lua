-- Sends the requests of a file in turn; counts answers that are not 200, or do not tell of success.
-- Arguments: the file, and what makes this run's idempotency keys its own. Prints one line of JSON.
local threads, prepared, place, sent = {}, {}, 0, 0
wrong = 0

function setup(thread) table.insert(threads, thread) end

function init(arguments)
  prefix = arguments[2]
  local file = assert(io.open(arguments[1], "rb"))
  for text in file:read("*a"):gmatch("([^\30]+)\30") do
    local before, after = text:match("^(.-)\31(.*)$")
    table.insert(prepared, { before or text, after })
  end
  file:close()
  math.randomseed(tonumber(prefix, 16))
  place = math.random(#prepared)
end

function request()
  place, sent = place % #prepared + 1, sent + 1
  local before, after = prepared[place][1], prepared[place][2]
  return after and before .. prefix .. "-" .. sent .. after or before
end

function response(status, _headers, body)
  if status ~= 200 or not body:find('"success": ?true') then
    wrong = wrong + 1
    if wrong == 1 then io.stderr:write(status, " ", body:sub(1, 500), "\n") end
  end
end

function done(summary, latency)
  local mistaken, failed = 0, summary.errors
  for _, thread in ipairs(threads) do mistaken = mistaken + thread:get("wrong") end
  io.write(string.format(
    '{"answers": %d, "seconds": %.6f, "wrong": %d, "broken": %d, "p50_ms": %.3f, "p99_ms": %.3f}\n',
    summary.requests, summary.duration / 1e6, mistaken,
    failed.connect + failed.read + failed.write + failed.timeout,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3))
end
