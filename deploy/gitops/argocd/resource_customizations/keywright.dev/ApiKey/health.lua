-- Healthy: what git asks for has been enacted, also where it asks for a key that is suspended, revoked or past its end.
-- None of these may be anything else: a sync with waves waits until every resource of a wave is Healthy, and fails at
-- one that is Degraded, so a key that was revoked on purpose would block whatever is deployed with it.
-- Degraded: a person has to act, and the message says how. The same in kstatus is Current and Failed.

local function find(kind)
  for _, condition in ipairs(obj.status.conditions or {}) do
    if condition.type == kind then
      return condition
    end
  end
  return {}
end

local health = { status = "Progressing", message = "Waiting for the operator" }
-- A status that says nothing of the newest spec may only be late.
if obj.status == nil or obj.status.observedGeneration ~= obj.metadata.generation then
  return health
end

local stalled, ready = find("Stalled"), find("Ready")
if stalled.status == "True" then
  health.status = "Degraded"
  health.message = stalled.reason .. ": " .. stalled.message
elseif ready.status == "True" then
  health.status = "Healthy"
  -- While a key is accepted, its end is the news there may be.
  local expiring = find("Expiring")
  local news = expiring.status == "True" and expiring or ready
  health.message = news.reason .. ": " .. news.message
elseif ready.message ~= nil then
  health.message = ready.message
end
return health
