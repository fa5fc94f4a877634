-- Asks Keywright's verifier about each request (HAProxy 2.6 and later, with Lua). Where the answer is not exactly 200,
-- the client gets that answer and the backend gets nothing.

local VERIFIER = assert(os.getenv("KEYWRIGHT_VERIFIER"), "KEYWRIGHT_VERIFIER says where the verifier is: set it")
-- Its host is a stand-in. VERIFIER decides where the question goes; a name here, or a Host header of the client's,
-- would be looked up.
local URL = "http://127.0.0.1/verify"
local MILLISECONDS = 5000
-- What may carry a key. Every line of it goes along: the verifier refuses one that is repeated.
local CREDENTIALS = { "authorization", "x-api-key" }
-- A verifier always says these; an answer without them is none.
local IDENTITY = { "x-auth-subject", "x-auth-key", "x-auth-key-id", "x-auth-class", "x-auth-role", "x-auth-scopes" }
local FOR_THE_CLIENT = {
  ["ratelimit"] = "txn.keywright_ratelimit",
  ["ratelimit-policy"] = "txn.keywright_ratelimit_policy",
  ["x-auth-key-expires"] = "txn.keywright_key_expires",
}
-- They belong to the connection to the verifier.
local OF_THE_CONNECTION = { ["connection"] = true, ["content-length"] = true, ["keep-alive"] = true, ["transfer-encoding"] = true }

local function lines(values)
  local copied = {}
  for index = 0, #values do
    if values[index] ~= nil then
      copied[#copied + 1] = values[index]
    end
  end
  return copied
end

local function ask(txn)
  local sent = txn.http:req_get_headers()
  local headers = {
    ["x-forwarded-host"] = lines(sent["host"] or {}),
    ["x-forwarded-uri"] = { txn.f:pathq() },
    ["x-forwarded-method"] = { txn.f:method() },
  }
  for _, name in ipairs(CREDENTIALS) do
    if sent[name] ~= nil then
      headers[name] = lines(sent[name])
    end
  end
  return core.httpclient():get({ url = URL, dst = VERIFIER, headers = headers, timeout = MILLISECONDS })
end

local function first(answer, name)
  local values = answer.headers and answer.headers[name]
  return values and lines(values)[1]
end

local function allow(txn, answer)
  for _, name in ipairs(IDENTITY) do
    if first(answer, name) == nil then
      return false
    end
  end
  for _, name in ipairs(IDENTITY) do
    txn.http:req_set_header(name, first(answer, name))
  end
  for name, variable in pairs(FOR_THE_CLIENT) do
    local value = first(answer, name)
    if value ~= nil then
      txn:set_var(variable, value)
    end
  end
  local expires = first(answer, "x-auth-key-expires")
  if expires ~= nil then
    txn.http:req_set_header("x-auth-key-expires", expires)
  end
  return true
end

local function refuse(txn, answer)
  local reply = txn:reply({ status = answer.status, reason = answer.reason })
  for name, values in pairs(answer.headers) do
    if not OF_THE_CONNECTION[name] then
      for _, value in ipairs(lines(values)) do
        reply:add_header(name, value)
      end
    end
  end
  reply:add_header("content-length", tostring(#answer.body))
  reply:set_body(answer.body)
  txn:done(reply)
end

local function unavailable(txn)
  local reply = txn:reply({ status = 503 })
  local body = '{"type": "about:blank", "title": "Service Unavailable", "status": 503}'
  reply:add_header("content-type", "application/problem+json")
  reply:add_header("content-length", tostring(#body))
  reply:add_header("cache-control", "no-store")
  reply:add_header("retry-after", "5")
  reply:set_body(body)
  txn:done(reply)
end

core.register_action("keywright", { "http-req" }, function(txn)
  local asked, answer = pcall(ask, txn)
  if asked and answer ~= nil and answer.status == 200 and allow(txn, answer) then
    return
  end
  if asked and answer ~= nil and (answer.status or 0) >= 400 and first(answer, "date") ~= nil then
    refuse(txn, answer)
  end
  unavailable(txn)
end, 0)
