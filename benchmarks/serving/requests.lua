-- Requests for wrk: a body of every line of a file, one after the other; then one line of JSON with what happened.
-- Arguments: the file (- asks GET of the URL's path), the place to begin at, milliseconds to think (0: none).

local requests, count, at, think = {}, 0, 0, 0

function init(arguments)
  if arguments[1] ~= "-" then
    for line in io.lines(arguments[1]) do
      count = count + 1
      requests[count] = wrk.format("POST", "/recommend", {["Content-Type"] = "application/json"}, line)
    end
  else
    count, requests[1] = 1, wrk.format("GET")
  end
  at = tonumber(arguments[2]) % count
  think = tonumber(arguments[3])
  if think > 0 then
    math.randomseed(1)
    -- wrk asks for a delay where this function exists; uniform, so that connections do not keep step
    delay = function() return math.floor(2 * think * math.random() + math.random()) end
  end
end

function request()
  at = at % count + 1
  return requests[at]
end

function done(summary, latency, _)
  local e = summary.errors
  io.write(string.format(
    '\n{"requests":%d,"seconds":%.6f,"p50_ms":%.3f,"p95_ms":%.3f,"p99_ms":%.3f,"refused":%d,"broken":%d}\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(95) / 1e3,
    latency:percentile(99) / 1e3, e.status, e.connect + e.read + e.write + e.timeout))
end
