-- Dynamic server selection for WebSocket connections
local redis = require "resty.redis"
local cjson = require "cjson"
local function get_redis_connection()
local red = redis:new()
red:set_timeouts(1000, 1000, 1000) -- connect, send, read timeouts
local ok, err = red:connect("127.0.0.1", 6379)
if not ok then
ngx.log(ngx.ERR, "Failed to connect to Redis: ", err)
return nil
end
return red
end
local function get_session_server(session_id)
local red = get_redis_connection()
if not red then
return nil
end
local res, err = red:get("session:" .. session_id)
if not res or res == ngx.null then
return nil
end
red:set_keepalive(10000, 100)
return res
end
local function assign_least_loaded_server(session_id)
local servers = {"10.0.1.10:8000", "10.0.1.11:8000", "10.0.1.12:8000"}
local min_load = math.huge
local selected_server = servers[1]
local red = get_redis_connection()
if not red then
return selected_server
end
-- Find server with least connections
for _, server in ipairs(servers) do
local count, err = red:scard("server:" .. server .. ":sessions")
if count and count < min_load then
min_load = count
selected_server = server
end
end
-- Assign session to selected server
red:setex("session:" .. session_id, 3600, selected_server)
red:sadd("server:" .. selected_server .. ":sessions", session_id)
red:expire("server:" .. selected_server .. ":sessions", 3600)
red:set_keepalive(10000, 100)
return selected_server
end
-- Main routing logic
local session_id = ngx.var.cookie_sessionid or ngx.var.arg_session
if not session_id then
ngx.status = 400
ngx.say("Missing session ID")
return
end
local assigned_server = get_session_server(session_id)
if not assigned_server then
assigned_server = assign_least_loaded_server(session_id)
end
-- Set upstream server
ngx.var.backend_server = assigned_server
