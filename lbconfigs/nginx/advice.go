package nginx

import (
	"slices"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/lbconfigs/reading"
)

// advice is the usual cause of each refuted claim with nginx, and what to write instead. Entries with a detail come
// first, since the first match applies.
var advice = slices.Concat([]model.Advice{
	{
		Check: string(plan.CheckWeights),
		Why: "A server that was ejected (the default max_fails=1 takes one failed attempt) or that is at max_conns " +
			"gets less than its share, and a name with several addresses counts as that many servers.",
		Instead: "One address per `server HOST:PORT weight=N;` line, `max_fails=0` where nothing may be ejected, and " +
			"`zone NAME 64k;` in the upstream so that all workers share one rotation.",
	},
	{
		Check: string(plan.CheckAlgorithm),
		Why: "Without `zone` each worker balances on its own: least_conn compares only its own requests, and hash, " +
			"ip_hash and random see only its own ejections. ip_hash treats a whole IPv4 /24 as one client.",
		Instead: "`zone NAME 64k;` in the upstream; `hash KEY consistent;` where a lost server may move only its own keys.",
	},
	{
		Check: string(plan.CheckBackup),
		Why: "nginx uses a backup as soon as every primary is ejected (max_fails, default 1 failed attempt within " +
			"fail_timeout=10s) or at max_conns, even if the primaries are healthy.",
		Instead: "`max_fails=0` on the primaries, or a higher max_fails and max_conns; `server HOST:PORT backup;` works " +
			"with round robin and least_conn only.",
	},
	{
		Check: string(plan.CheckDrained),
		Why: "`down` applies to this one `server` line: the same host in another line or upstream still gets " +
			"requests, and so do the old workers until a reload has finished.",
		Instead: "`server HOST:PORT down;` in every line that names this address, then `nginx -t && nginx -s reload`.",
	},
	{
		Check:   string(plan.CheckConns),
		Why:     "Without `zone` each worker counts max_conns on its own, so N workers allow N times as many requests.",
		Instead: "`zone NAME 64k;` in the upstream, beside `server HOST:PORT max_conns=N;`.",
	},
	{
		Check: string(plan.CheckSplit),
		Why: "split_clients divides the hashes of its key, so shares hold only over many different keys: a constant " +
			"or rare key sends all its requests to one side.",
		Instead: "`split_clients $request_id $side { 10% canary; * main; }` splits request by request; a key such as " +
			"`$cookie_session` keeps each client on its side.",
	},
	{
		Check: string(plan.CheckSticky),
		Why: "The client did not send the cookie back (`domain=`, `path=` or `secure` did not match the request), or " +
			"its server was ejected or marked down.",
		Instead: "`sticky cookie NAME path=/;` (nginx 1.29.6 or later; NGINX Plus before), otherwise `hash $cookie_NAME " +
			"consistent;` with a cookie that the application sets.",
	},
	{
		Check: string(plan.CheckPassive),
		Why: "Without `zone` each worker counts failures on its own, and a status counts only if proxy_next_upstream " +
			"lists it. The only server of an upstream is never ejected.",
		Instead: "`zone NAME 64k;` in the upstream, `server HOST:PORT max_fails=3 fail_timeout=10s;`, and " +
			"`proxy_next_upstream error timeout http_502 http_503 http_504;` to count these statuses.",
	},
	{
		Check: string(plan.CheckActive),
		Why:   "nginx itself has no active health checks: only failed client requests eject a server.",
		Instead: "`max_fails` and `fail_timeout` on the servers; `health_check;` needs NGINX Plus, and `check` needs " +
			"Tengine or nginx_upstream_check_module.",
	},
	{
		Check: string(plan.CheckRetries),
		Why: "nginx retries only while nothing of the response has been sent to the client, only for the causes in " +
			"proxy_next_upstream, and a POST, LOCK or PATCH only if it was not yet sent to the server.",
		Instead: "`proxy_next_upstream error timeout http_502 http_503;`, `proxy_next_upstream_tries 3;` and " +
			"`proxy_next_upstream_timeout 10s;`; add `non_idempotent` only if backends tolerate a POST twice.",
	},
	{
		Check: string(plan.CheckFallback),
		Why: "auth_request turns every status of its service except 2xx, 401 and 403 into 500, and error_page sees a " +
			"backend's own statuses only with proxy_intercept_errors on.",
		Instead: "`error_page 500 502 503 504 = @fallback;` behind auth_request, and `proxy_intercept_errors on;` if " +
			"statuses from backends count as well.",
	},
	{
		Check: string(plan.CheckBreaker),
		Why:   "nginx has no circuit breaker: it ejects single servers and keeps sending requests to the others.",
		Instead: "`max_fails=N fail_timeout=T` on the servers; a breaker for a whole route needs a program, such as " +
			"lua-nginx-module.",
	},
	{
		Check: string(plan.CheckLimits),
		Why: "limit_req counts in milliseconds: without burst, requests closer together than one rate interval are " +
			"refused however few they are; without nodelay they wait instead. Requests with an empty key are never limited.",
		Instead: "`limit_req zone=NAME burst=N nodelay;` with `limit_req_zone $binary_remote_addr zone=NAME:10m " +
			"rate=10r/s;` and `limit_req_status 429;`. Behind a proxy also `set_real_ip_from` and `real_ip_header`.",
	},
	{
		Check: string(plan.CheckRoutes),
		Why: "nginx picks an exact location first, then the longest prefix if it has ^~, then the first matching " +
			"regular expression, and only then the longest prefix. Another server block may take the Host as well.",
		Instead: "`location ^~ /PATH/ { … }` to win over regular expressions, `location = /PATH { … }` for one path; " +
			"compare the Host and path of the counter-example with `nginx -T`.",
	},
	{
		Check: string(plan.CheckRules),
		Why: "`if` and `rewrite` of the server block run before a location is chosen, and `rewrite … last` chooses " +
			"the location again. One `if` tests one condition.",
		Instead: "`if ($http_x_beta != \"true\") { return 404; }` in the location, with nothing but return in it; combine " +
			"conditions in a `map` in the http block.",
	},
	{
		Check: string(plan.CheckRedirects),
		Why: "nginx makes a relative target absolute, with the port of the listener; $host is what the client sent, " +
			"and $server_name the first name of the block.",
		Instead: "`return 301 https://$host$request_uri;` (308 keeps the method of a POST), and `absolute_redirect off;` " +
			"if the target is to be sent as written.",
	},
	{
		Check: string(plan.CheckAccess), Detail: "internal",
		Why: "internal closes only the location it is in: another location that matches the same path still answers " +
			"clients.",
		Instead: "`location = /PATH { internal; … }`, which wins over every prefix and regular expression.",
	},
	{
		Check: string(plan.CheckAccess),
		Why: "The first matching allow or deny decides, and a return in the same location answers before both. Behind " +
			"another proxy nginx sees that proxy's address.",
		Instead: "`allow 10.0.0.0/8; deny all;` in a location without return; behind a proxy also `set_real_ip_from " +
			"ADDRESS; real_ip_header X-Forwarded-For;`.",
	},
	{
		Check: string(plan.CheckAuth),
		Why: "auth_request lets 2xx through, passes on 401 and 403, and answers 500 for any other status. `satisfy " +
			"any`, or `auth_request off;` in an inner location, bypasses it, and a return answers before it.",
		Instead: "`auth_request /auth;` in the location that proxies, and `location = /auth { internal; proxy_pass " +
			"http://SERVICE; proxy_pass_request_body off; proxy_set_header Content-Length \"\"; }`.",
	},
	{
		Check: string(plan.CheckAnswered),
		Why: "No server could answer: with every server down or ejected nginx answers 502, and 504 after a timeout. " +
			"With `down` on all servers every request gets 502 until one is enabled.",
		Instead: "At least one `server HOST:PORT;` without `down` on the port the backend listens on; the error log shows " +
			"the cause of each 502 (connect() failed, no live upstreams).",
	},
	{
		Check: string(plan.CheckOnce),
		Why: "After an error or a timeout nginx sends the request to another server, although the first may have " +
			"executed it.",
		Instead: "`proxy_next_upstream off;` where a request must not run twice, and no `non_idempotent` in " +
			"proxy_next_upstream.",
	},
	{
		Check: string(plan.CheckHeaders),
		Why: "A proxy_set_header in a location replaces all those of the blocks around it. By default nginx sends the " +
			"name in proxy_pass as Host, and before 1.29.7 `Connection: close`.",
		Instead: "Repeat all of them in the location: `proxy_set_header Host $host; proxy_set_header X-Forwarded-For " +
			"$proxy_add_x_forwarded_for; proxy_set_header X-Forwarded-Proto $scheme;`.",
	},
	{
		Check: string(plan.CheckResponse), Detail: "Content-Type",
		Why: "return sends the type of default_type, and add_header adds a second Content-Type; each client picks one " +
			"of the two.",
		Instead: "`default_type TYPE;` in the location, instead of `add_header Content-Type TYPE`.",
	},
	{
		Check: string(plan.CheckResponse), Detail: "Cache-Control",
		Why: "expires and add_header each add a Cache-Control, and the backend's own is passed on besides.",
		Instead: "One `add_header Cache-Control \"public, max-age=3600\" always;` without expires, and `proxy_hide_header " +
			"Cache-Control;` if the backend sends one.",
	},
	{
		Check: string(plan.CheckResponse),
		Why: "Without always, add_header applies only to 200, 201, 204, 206, 301, 302, 303, 304, 307 and 308, and an " +
			"add_header in a location replaces all those around it. A header that the backend sends as well appears twice.",
		Instead: "`add_header NAME VALUE always;` in every location with an add_header of its own (nginx 1.29.3 or later: " +
			"`add_header_inherit merge;`), and `proxy_hide_header NAME;` if the backend sends it as well.",
	},
	{
		Check: string(plan.CheckEndpoint),
		Why: "Another location, a rewrite or a return of the server block takes the request first, or the request " +
			"reaches another server block by its Host.",
		Instead: "`location = /health { return 200 \"healthy\\n\"; }` with `default_type text/plain;`, in the server " +
			"block whose server_name is that host.",
	},
	{
		Check: string(plan.CheckAdmin),
		Why: "Another location takes the path, the request reaches another server block by its Host, or nginx was " +
			"built without the stub_status module.",
		Instead: "`location = /status { stub_status; allow 127.0.0.1; deny all; }`; `nginx -V` must list " +
			"--with-http_stub_status_module.",
	},
	{
		Check: string(plan.CheckCounters),
		Why: "stub_status counts the requests of all clients since nginx started, requests for the status page " +
			"included; it starts at 0 after a restart.",
		Instead: "`location = /status { stub_status; }`, read as a rate over time; if numbers are still missing, compare " +
			"them with the access log of the same minutes.",
	},
	{
		Check: string(plan.CheckLog),
		Why: "A request is logged by the location in which it ends, after internal redirects, and an access_log there " +
			"replaces all those around it. buffer=, gzip and flush= delay lines; if= drops some.",
		Instead: "`access_log /var/log/nginx/access.log FORMAT;` in that location or once in the http block, without " +
			"buffer= and if=.",
	},
	{
		Check: string(plan.CheckTLS), Detail: "versions",
		Why: "nginx takes ssl_protocols from the default server of the port, and OpenSSL 3 refuses TLSv1 and TLSv1.1 " +
			"at its default security level even if they are listed.",
		Instead: "`ssl_protocols TLSv1.2 TLSv1.3;` in the http block. TLSv1 and TLSv1.1 additionally need `@SECLEVEL=0` " +
			"in ssl_ciphers.",
	},
	{
		Check: string(plan.CheckTLS), Detail: "ciphers",
		Why: "ssl_ciphers governs TLS 1.2 and older only, OpenSSL ignores names it does not know, and an ECDSA suite " +
			"needs an ECDSA certificate.",
		Instead: "`ssl_ciphers ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256;` (check with `openssl ciphers " +
			"-v LIST`); TLS 1.3: `ssl_conf_command Ciphersuites TLS_AES_128_GCM_SHA256;`.",
	},
	{
		Check: string(plan.CheckTLS), Detail: "h2",
		Why:     "HTTP/2 is off unless the listener enables it, and the directive depends on the version.",
		Instead: "`http2 on;` in the server block (nginx 1.25.1 or later), `listen 443 ssl http2;` before.",
	},
	{
		Check: string(plan.CheckTLS), Detail: "resumption",
		Why:     "Without ssl_session_cache nginx stores no sessions, and a builtin cache belongs to one worker.",
		Instead: "`ssl_session_cache shared:TLS:10m; ssl_session_timeout 1h;` in the http block.",
	},
	{
		Check: string(plan.CheckTLS), Detail: "tickets",
		Why: "The default server of the port, or the block that serves the host, still issues tickets: they are on by " +
			"default.",
		Instead: "`ssl_session_tickets off;` in the http block.",
	},
	{
		Check: string(plan.CheckTLS), Detail: "certificate",
		Why: "nginx picks the certificate by the host name the client asks for (SNI); an unknown name, or a client " +
			"without SNI, gets that of the default server.",
		Instead: "`ssl_certificate` (the server's certificate first, then its chain) and `ssl_certificate_key` in the " +
			"block whose server_name is that host.",
	},
	{
		Check: string(plan.CheckTLS),
		Why: "The listener's default server decides the protocol versions and serves every host name that no other " +
			"block has.",
		Instead: "Put `ssl_protocols`, `ssl_ciphers` and `ssl_session_cache` in the http block, and `default_server` on " +
			"one listen line per port.",
	},
	{
		Check: string(plan.CheckTimeouts), Detail: "connect-to-a-server",
		Why: "proxy_connect_timeout (default 60s) applies to each attempt, and an ejected server is not tried at all. " +
			"A host that refuses the connection fails at once.",
		Instead: "`proxy_connect_timeout 3s;` with `proxy_next_upstream_timeout 10s;` to bound all attempts together.",
	},
	{
		Check: string(plan.CheckTimeouts), Detail: "send-to-a-server",
		Why: "proxy_send_timeout (default 60s) runs between two writes, not for the whole request: a server that " +
			"reads slowly never reaches it.",
		Instead: "`proxy_send_timeout 10s;` in the location that proxies.",
	},
	{
		Check: string(plan.CheckTimeouts), Detail: "receive-a-response",
		Why: "proxy_read_timeout (default 60s) runs between two reads, not for the whole response, and starts again " +
			"with every attempt.",
		Instead: "`proxy_read_timeout 10s;` in the location that proxies, and `proxy_next_upstream_timeout 15s;` to bound " +
			"all attempts together.",
	},
	{
		Check: string(plan.CheckTimeouts), Detail: "keep-an-idle-client-connection",
		Why: "nginx closes idle connections earlier when worker_connections run out, after keepalive_requests " +
			"(default 1000) and after keepalive_time (default 1h).",
		Instead: "`keepalive_timeout 75s;` in the http block, and enough `worker_connections`.",
	},
	{
		Check: string(plan.CheckTimeouts), Detail: "keep-an-idle-tunnel",
		Why: "proxy_read_timeout ends a WebSocket connection on which the backend sends nothing, and " +
			"proxy_send_timeout one whose backend reads nothing.",
		Instead: "`proxy_read_timeout 1h; proxy_send_timeout 1h;` in the location of the WebSocket, or pings in the " +
			"application.",
	},
	{
		Check: string(plan.CheckTimeouts),
		Why: "Each of nginx's timeouts runs between two reads or writes and starts again with every attempt, so a " +
			"client may wait several times as long.",
		Instead: "`proxy_next_upstream_timeout 10s;` bounds the time in which attempts may begin; compare the time in the " +
			"counter-example with the timeouts of the location.",
	},
	{
		Check: string(plan.CheckFraming),
		Why: "nginx 1.21.1 or later refuses a request with both Content-Length and Transfer-Encoding with 400. If it " +
			"reached a backend as two requests, something in front of or inside nginx has rewritten it.",
		Instead: "nginx 1.21.1 or later; keep the counter-example, it is a request-smuggling report.",
	},
	{
		Check: string(plan.CheckBody),
		Why: "client_max_body_size (default 1m) of the innermost block applies; a chunked body is counted while it is " +
			"read, so the backend may already have seen its beginning if proxy_request_buffering is off.",
		Instead: "`client_max_body_size 10m;` in the location (0 turns the limit off) and `proxy_request_buffering on;`.",
	},
	{
		Check: string(plan.CheckCompression),
		Why: "gzip applies to text/html and the types in gzip_types only, to bodies of gzip_min_length or more " +
			"(default 20 bytes), and not to requests with a Via header unless gzip_proxied allows it.",
		Instead: "`gzip on; gzip_types text/plain text/css application/json; gzip_min_length 1000; gzip_proxied any; " +
			"gzip_vary on;`.",
	},
	{
		Check: string(plan.CheckWebSocket),
		Why: "An upgrade needs HTTP/1.1 to the backend and both hop-by-hop headers, and a proxy_set_header in the " +
			"location replaces those around it.",
		Instead: "`proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection " +
			"$connection_upgrade;` with `map $http_upgrade $connection_upgrade { default upgrade; \"\" \"\"; }` in the http " +
			"block.",
	},
	{
		Check: string(plan.CheckMirror),
		Why: "nginx copies a request once the location that has mirror is chosen: one refused earlier is not copied, " +
			"and a copy that fails in the mirror location is retried like any other.",
		Instead: "`mirror /mirror;` with `location = /mirror { internal; proxy_pass http://MIRROR$request_uri; " +
			"proxy_next_upstream off; }`.",
	},
	{
		Check: string(plan.CheckKeepalive),
		Why: "keepalive keeps connections only for locations that speak HTTP/1.1 to the servers and send no " +
			"Connection header; until nginx 1.29.7 neither is the default.",
		Instead: "`keepalive 32;` in the upstream, and `proxy_http_version 1.1; proxy_set_header Connection \"\";` in " +
			"every location that proxies to it.",
	},
	{
		Check: string(plan.CheckResolve),
		Why: "Names in server lines and in a literal proxy_pass are looked up once, when nginx loads the " +
			"configuration.",
		Instead: "`server NAME resolve;` with `zone NAME 64k;` and `resolver ADDRESS valid=10s;` (nginx 1.27.3 or later, " +
			"NGINX Plus before), or a variable in proxy_pass with a resolver.",
	},
	{
		Check: string(plan.CheckReload),
		Why: "The old workers close the idle connections of clients; a request already on its way on one of them is " +
			"lost. Browsers repeat a GET, other clients and POSTs usually do not.",
		Instead: "`keepalive_min_timeout 5s;` (nginx 1.27.4 or later) keeps such connections open for that long; before, " +
			"let clients retry, or reload behind another balancer.",
	},
}, reading.Advice)
