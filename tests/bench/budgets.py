"""The rows of the table: floors and goals of DESIGN section 11, and a few figures beside them for comparison."""

from tests.bench.measures import Better, Budget

__all__ = [
    "ADDED_LATENCY",
    "ANSWER",
    "ARGON2_IN_FLOOD",
    "AUTHORINO",
    "DECISION",
    "EXPIRY_LAG",
    "FIRST_USE",
    "FLOOD",
    "FLOOD_P99",
    "GRANIAN",
    "HTTP",
    "HTTP_RATE",
    "MANY_KEYS",
    "MEMORY",
    "METRICS",
    "OPERATOR_MEMORY",
    "OUTAGE_OTHERS",
    "OUTAGE_RETURNED",
    "OUTAGE_REVOKED",
    "OUTAGE_SERVED",
    "READY_10K",
    "READY_RATE",
    "READY_SECONDS",
    "RESTART_NEW_KEY",
    "RESTART_READY",
    "RESTART_WRITES",
    "REVOCATION",
    "REVOCATION_P50",
    "SCALE_CPU",
    "SCALE_LAG",
    "SCALE_MEMORY",
    "SCALE_RATE",
    "SCALE_RESTART",
    "SCALE_RESTART_MEMORY",
    "SCALE_RESTART_WRITES",
    "SCALE_REST_CPU",
    "SCALE_REST_REQUESTS",
    "SCALE_REST_WRITES",
    "SCALE_SECONDS",
    "UVICORN",
]

HIGHER, LOWER = Better.HIGHER, Better.LOWER
NGINX = "nginx return 204"

HTTP = Budget(
    name="verify over HTTP, key proven, a rule matched", unit="x nginx", better=HIGHER, floor=0.5, goal=0.8, rival=NGINX
)
HTTP_RATE = Budget(name="  requests a second", unit="/s", better=HIGHER)
UVICORN = Budget(name="  uvicorn that judges nothing", unit="x nginx", better=HIGHER, rival=NGINX)
GRANIAN = Budget(name="  Granian that judges nothing", unit="x nginx", better=HIGHER, rival=NGINX)
MANY_KEYS = Budget(
    name="the same with 100,000 keys", unit="x 10 keys", better=HIGHER, floor=0.9, goal=1.0, rival="10 keys"
)
AUTHORINO = Budget(
    name="verify over HTTP against Authorino's HTTP check",
    unit="x Authorino",
    better=HIGHER,
    floor=8,
    goal=15,
    rival="Authorino",
)
DECISION = Budget(name="decision in process, p50", unit="µs", better=LOWER, floor=5, goal=3)
ANSWER = Budget(name="  request head to answer in process, p50", unit="µs", better=LOWER)
METRICS = Budget(name="  of which counting for /metrics", unit="ns", better=LOWER)
ADDED_LATENCY = Budget(name="added at 1,000 requests/s, p99", unit="ms", better=LOWER, floor=2, goal=1, rival=NGINX)
FIRST_USE = Budget(name="argon2 runs for 200 first uses at once", unit="runs", better=LOWER, floor=1, goal=1)
FLOOD = Budget(
    name="valid key under 5,000 wrong secrets/s, p99", unit="x calm", better=LOWER, floor=3, goal=2, rival="calm"
)
FLOOD_P99 = Budget(name="  that is", unit="ms", better=LOWER)
ARGON2_IN_FLOOD = Budget(name="argon2 runs in that flood", unit="runs", better=LOWER, floor=0, goal=0)
REVOCATION = Budget(name="revoke to 401, p99", unit="ms", better=LOWER, floor=1000, goal=100)
REVOCATION_P50 = Budget(name="  p50", unit="ms", better=LOWER)
# Bookmarks come once a minute, so what was heard last may be a minute old when the API server goes.
OUTAGE_SERVED = Budget(name="API server gone for ten minutes: keys accepted for", unit="s", better=HIGHER)
OUTAGE_OTHERS = Budget(name="  answers after that which were not 503", unit="", better=LOWER, floor=0, goal=0)
OUTAGE_RETURNED = Budget(name="  accepted again after its return", unit="s", better=LOWER)
OUTAGE_REVOKED = Budget(name="  revoked then, and refused", unit="s", better=LOWER)
# 10k ApiKeys in 10 minutes are 16.7 a second.
READY_RATE = Budget(name="1,000 ApiKeys to Ready", unit="a second", better=HIGHER, floor=16.7, goal=50)
READY_SECONDS = Budget(name="  in seconds", unit="s", better=LOWER)
RESTART_WRITES = Budget(name="writes of a restart with 1,000 keys", unit="writes", better=LOWER, floor=0, goal=0)
RESTART_READY = Budget(name="operator ready after a restart", unit="s", better=LOWER, floor=60, goal=30)
RESTART_NEW_KEY = Budget(name="  key made meanwhile is Ready", unit="s", better=LOWER)
OPERATOR_MEMORY = Budget(name="operator memory with 1,000 keys", unit="MiB", better=LOWER, floor=300, goal=150)
MEMORY = {
    100: Budget(name="verifier memory, 100 keys", unit="MiB", better=LOWER, floor=45, goal=30),
    10_000: Budget(name="verifier memory, 10,000 keys", unit="MiB", better=LOWER, floor=60, goal=40),
    100_000: Budget(name="verifier memory, 100,000 keys", unit="MiB", better=LOWER, floor=140, goal=110),
}
READY_10K = Budget(name="verifier ready with 10,000 keys", unit="s", better=LOWER, floor=5, goal=2)
EXPIRY_LAG = Budget(name="status says Expired after the end, p99", unit="s", better=LOWER, floor=5, goal=1)

SCALE_RATE = Budget(name="10,000 ApiKeys to Ready", unit="a second", better=HIGHER, floor=16.7, goal=50)
SCALE_SECONDS = Budget(name="  in seconds", unit="s", better=LOWER)
SCALE_CPU = Budget(name="  operator's processor time a key", unit="ms", better=LOWER)
SCALE_MEMORY = Budget(name="operator memory after issuing 10,000 keys", unit="MiB", better=LOWER, floor=300, goal=150)
SCALE_RESTART_WRITES = Budget(name="writes of a restart with 10,000 keys", unit="writes", better=LOWER, floor=0, goal=0)
SCALE_RESTART = Budget(name="  until every key has been looked at", unit="s", better=LOWER, floor=60, goal=30)
SCALE_RESTART_MEMORY = Budget(name="  operator memory then", unit="MiB", better=LOWER, floor=300, goal=150)
SCALE_REST_CPU = Budget(name="operator at rest with 10,000 keys", unit="% of a core", better=LOWER, floor=5, goal=1)
SCALE_REST_WRITES = Budget(name="  writes in a minute", unit="writes", better=LOWER, floor=0, goal=0)
SCALE_REST_REQUESTS = Budget(name="  requests in a minute, watches included", unit="requests", better=LOWER)
SCALE_LAG = Budget(name="1,000 ends in a minute, status late by, p99", unit="s", better=LOWER, floor=5, goal=1)
