package haproxy

import (
	"slices"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/lbconfigs/reading"
)

// advice is the usual cause of each refuted claim with HAProxy, and what to write instead. Entries with a detail come
// first, since the first match applies.
var advice = slices.Concat([]model.Advice{
	{
		Check: string(plan.CheckWeights),
		Why: "A server was marked down by health checks, a cookie or stick rule pinned clients to it, or slowstart or " +
			"agent-check changed its weight at run time.",
		Instead: "`server NAME ADDRESS weight N check` without `cookie` and `stick` in a backend that must follow its " +
			"weights; `balance static-rr` ignores weight changes at run time.",
	},
	{
		Check: string(plan.CheckAlgorithm),
		Why: "leastconn ignores weights while nothing is in flight, and without hash-type consistent a lost server " +
			"moves the keys of others too. Weights below 80 divide the ring of random(1) and consistent hashes only roughly.",
		Instead: "`hash-type consistent` below `balance source`, `uri` or `hdr(NAME)`; `balance roundrobin` where weights " +
			"must hold without load; larger weights for rings.",
	},
	{
		Check: string(plan.CheckBackup),
		Why: "A backup gets requests only after health checks have marked every other server down, and only the first " +
			"backup does without option allbackups.",
		Instead: "`server NAME ADDRESS check backup` with `check` on all other servers, and `option allbackups` if all " +
			"backups share the load.",
	},
	{
		Check:   string(plan.CheckDrained),
		Why:     "A server of weight 0 still serves clients that a cookie or a stick table pins to it.",
		Instead: "`server NAME ADDRESS disabled`, or `weight 0` without `cookie` and `stick`.",
	},
	{
		Check: string(plan.CheckConns),
		Why: "maxconn limits the requests in flight per server and process; during a reload the old process has its " +
			"own, and minconn lowers the limit under low load.",
		Instead: "`server NAME ADDRESS maxconn N` without `minconn`, and `timeout queue 1s` for the requests beyond it.",
	},
	{
		Check: string(plan.CheckSplit),
		Why: "HAProxy has no traffic split: shares come from server weights or from rules, and change when servers " +
			"go down.",
		Instead: "`use_backend canary if { rand(100) lt 10 }` before `default_backend main`.",
	},
	{
		Check: string(plan.CheckSticky),
		Why: "The client did not send the cookie back (secure, domain or path did not match), a server has no cookie " +
			"value, or its server was down.",
		Instead: "`cookie SRV insert indirect nocache` and `server NAME ADDRESS check cookie NAME` on every server; " +
			"`option redispatch` moves clients whose server is down.",
	},
	{
		Check: string(plan.CheckPassive),
		Why: "observe counts consecutive errors only, layer4 sees failed connections only, and the default on-error " +
			"fail-check counts as a single failed health check.",
		Instead: "`server NAME ADDRESS check observe layer7 error-limit 10 on-error mark-down`; `check` is what brings " +
			"the server back.",
	},
	{
		Check: string(plan.CheckActive),
		Why: "Without option httpchk a check only connects, and a 2xx or 3xx status passes. Detection takes up to " +
			"inter + (fall-1) x fastinter, and timeout check more for each check if the server hangs.",
		Instead: "`option httpchk GET /health`, `http-check expect status 200`, `timeout check 1s` and `server NAME " +
			"ADDRESS check inter 2s fastinter 500ms fall 3 rise 2`.",
	},
	{
		Check: string(plan.CheckRetries),
		Why: "Without option redispatch HAProxy retries the same server, and the default retry-on conn-failure covers " +
			"only requests that were not sent yet.",
		Instead: "`option redispatch 1`, `retries 3` and `retry-on conn-failure empty-response response-timeout`; exclude " +
			"POST with `http-request disable-l7-retry if METH_POST`.",
	},
	{
		Check: string(plan.CheckFallback),
		Why:   "errorfile replaces only responses that HAProxy generates; an error of a server is passed on unchanged.",
		Instead: "`errorfile 503 /etc/haproxy/errors/503.http`, and for errors of servers `http-response return status " +
			"503 content-type text/plain string \"down\" if { status ge 500 }`.",
	},
	{
		Check: string(plan.CheckBreaker),
		Why:   "HAProxy has no circuit breaker for a route: it takes single servers out of rotation.",
		Instead: "`server NAME ADDRESS check observe layer7 error-limit 10 on-error mark-down` on every server of the " +
			"backend.",
	},
	{
		Check: string(plan.CheckLimits),
		Why: "A stick-table rate includes refused requests, so a client that keeps sending above the rate stays " +
			"refused. Requests are counted by track-sc rules that run, so the order of rules matters.",
		Instead: "`stick-table type ip size 100k expire 30s store http_req_rate(10s)`, then `http-request track-sc0 src` " +
			"and `http-request deny deny_status 429 if { sc_http_req_rate(0) gt 50 }`.",
	},
	{
		Check: string(plan.CheckRoutes),
		Why: "The first use_backend rule that matches decides, then default_backend. path_beg compares a plain string " +
			"prefix and is case-sensitive.",
		Instead: "Put `use_backend api if { path_beg /api/ }` before more general rules, and a `default_backend` at the " +
			"end.",
	},
	{
		Check: string(plan.CheckRules),
		Why: "http-request rules run in order, before redirect and use_backend lines, and the first deny, return or " +
			"redirect ends them. use_backend sees a path that a frontend rule has rewritten.",
		Instead: "Put `http-request deny deny_status 403 if CONDITION` first, and `http-request set-path` into the " +
			"backend.",
	},
	{
		Check: string(plan.CheckRedirects),
		Why: "http-request rules run before a redirect line, the default code is 302, and the Host header of the " +
			"client is used with its port.",
		Instead: "`http-request redirect scheme https code 301 unless { ssl_fc }` as the first rule (308 keeps the method " +
			"of a POST).",
	},
	{
		Check: string(plan.CheckAccess),
		Why:   "The first http-request rule that matches decides, and behind another proxy src is that proxy's address.",
		Instead: "`http-request deny unless { src 10.0.0.0/8 }`; behind a proxy `accept-proxy` on the bind, or " +
			"`http-request set-src hdr(X-Forwarded-For)` first.",
	},
	{
		Check: string(plan.CheckAuth),
		Why: "Rules above http-request auth, such as return and redirect, run first, and an empty userlist lets " +
			"nobody in.",
		Instead: "`http-request auth unless { http_auth(users) }` as the first rule, with `userlist users` and `user NAME " +
			"password HASH`.",
	},
	{
		Check: string(plan.CheckAnswered),
		Why: "No server could answer: HAProxy sends 503 if all servers are down, the queue timed out or connections " +
			"failed, 502 for an invalid response and 504 after timeout server.",
		Instead: "`server NAME ADDRESS:PORT check` with the port the backend listens on; the log's termination state (SC, " +
			"sH, <NOSRV>) shows the cause of each failure.",
	},
	{
		Check: string(plan.CheckOnce),
		Why: "retry-on with empty-response, response-timeout or a status sends a request again that the server may " +
			"have executed.",
		Instead: "`retry-on conn-failure`, which is the default, or `http-request disable-l7-retry if METH_POST`.",
	},
	{
		Check: string(plan.CheckHeaders),
		Why: "set-header replaces a header, add-header appends one, and option forwardfor adds a further " +
			"X-Forwarded-For line to the one the client sent. Rules run in order, those of the frontend first.",
		Instead: "`http-request set-header X-Forwarded-Proto https if { ssl_fc }`, and `http-request del-header " +
			"X-Forwarded-For` with `option forwardfor`.",
	},
	{
		Check: string(plan.CheckResponse),
		Why: "http-response rules apply to responses of servers only, not to errors, redirects and other responses of " +
			"HAProxy itself.",
		Instead: "`http-after-response set-header NAME VALUE` (HAProxy 2.2 or later) for all responses.",
	},
	{
		Check: string(plan.CheckEndpoint),
		Why:   "A rule above it (deny, redirect, return) responds first, or the section is in mode tcp.",
		Instead: "`http-request return status 200 content-type text/plain string \"OK\" if { path /health }` as the first " +
			"rule of the frontend, or `monitor-uri /health`.",
	},
	{
		Check: string(plan.CheckAdmin),
		Why: "An http-request rule of the same section refuses the request first, or another section listens on that " +
			"port.",
		Instead: "A separate section: `frontend stats`, `mode http`, `bind :8404`, `stats enable`, `stats uri /stats`, " +
			"`stats auth USER:PASSWORD`.",
	},
	{
		Check: string(plan.CheckCounters),
		Why: "Counters start at 0 in each process: after a reload the new process knows nothing of the old one, which " +
			"still finishes requests.",
		Instead: "Read req_tot of the FRONTEND rows as a rate over time, and compare the counter-example with the number " +
			"of reloads.",
	},
	{
		Check: string(plan.CheckLog),
		Why:   "HAProxy logs to syslog, and option dontlognull, option dontlog-normal and log levels drop lines.",
		Instead: "`log stdout format raw local0` in global, `log global` and `option httplog` in defaults, without " +
			"`option dontlog-normal`.",
	},
	{
		Check: string(plan.CheckTLS), Detail: "versions",
		Why: "Options of a bind override ssl-default-bind-options, the default is TLSv1.2 or later, and OpenSSL 3 " +
			"refuses TLSv1.0 and TLSv1.1 at its default security level.",
		Instead: "`ssl-default-bind-options ssl-min-ver TLSv1.2` in global; older versions also need `@SECLEVEL=0` in the " +
			"ciphers.",
	},
	{
		Check: string(plan.CheckTLS), Detail: "ciphers",
		Why: "ciphers governs TLS 1.2 and older only, OpenSSL ignores names it does not know, and an ECDSA suite " +
			"needs an ECDSA certificate.",
		Instead: "`ssl-default-bind-ciphers ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256` (check with " +
			"`openssl ciphers -v LIST`), and `ssl-default-bind-ciphersuites` for TLS 1.3.",
	},
	{
		Check: string(plan.CheckTLS), Detail: "h2",
		Why:     "Before HAProxy 2.8 a bind offers HTTP/2 only with alpn.",
		Instead: "`bind :443 ssl crt FILE alpn h2,http/1.1`.",
	},
	{
		Check: string(plan.CheckTLS), Detail: "resumption",
		Why:     "Sessions and ticket keys belong to a process: a reload forgets both.",
		Instead: "`tls-ticket-keys FILE` on the bind, and a larger `tune.ssl.cachesize` for many clients.",
	},
	{
		Check: string(plan.CheckTLS), Detail: "tickets",
		Why:     "A bind without no-tls-tickets still issues tickets: they are on by default.",
		Instead: "`ssl-default-bind-options no-tls-tickets` in global, or `no-tls-tickets` on the bind.",
	},
	{
		Check: string(plan.CheckTLS), Detail: "certificate",
		Why: "HAProxy picks the certificate by the host name the client asks for (SNI); other clients get the first " +
			"one loaded.",
		Instead: "`bind :443 ssl crt /etc/haproxy/certs/` with one PEM file per host (certificate, chain, key); " +
			"`strict-sni` refuses unknown names.",
	},
	{
		Check:   string(plan.CheckTLS),
		Why:     "Options of a bind override the ssl-default-bind-options of global.",
		Instead: "Write `ssl-min-ver`, `ciphers` and `no-tls-tickets` on the bind itself.",
	},
	{
		Check: string(plan.CheckTimeouts), Detail: "connect-to-a-server",
		Why: "timeout connect applies to each attempt, and retries 3 allows four of them. A host that refuses the " +
			"connection fails at once.",
		Instead: "`timeout connect 3s`, `retries 2` and `option redispatch`.",
	},
	{
		Check: string(plan.CheckTimeouts), Detail: "receive-a-response",
		Why: "timeout server is a limit of inactivity, which every byte restarts; it also covers the wait for the " +
			"response header. retry-on response-timeout starts over with another attempt.",
		Instead: "`timeout server 30s` in the backend.",
	},
	{
		Check: string(plan.CheckTimeouts), Detail: "receive-data-from-the-client",
		Why: "timeout client is a limit of inactivity. Before the end of the header timeout http-request applies, " +
			"between requests timeout http-keep-alive, and in a tunnel timeout tunnel.",
		Instead: "`timeout client 30s` and `timeout http-request 10s` in the frontend.",
	},
	{
		Check: string(plan.CheckTimeouts), Detail: "receive-the-request-header",
		Why:     "timeout http-request runs from the first byte of a request to the end of its header, not of its body.",
		Instead: "`timeout http-request 10s`; with `option http-buffer-request` it covers the body too.",
	},
	{
		Check: string(plan.CheckTimeouts), Detail: "keep-an-idle-client-connection",
		Why: "timeout http-keep-alive runs between two requests; its default is timeout http-request, else timeout " +
			"client. A reload and maxconn close idle connections earlier.",
		Instead: "`timeout http-keep-alive 10s` in the frontend.",
	},
	{
		Check: string(plan.CheckTimeouts), Detail: "keep-an-idle-tunnel",
		Why:     "Without timeout tunnel the shorter of timeout client and timeout server ends an idle tunnel.",
		Instead: "`timeout tunnel 1h` in the backend.",
	},
	{
		Check: string(plan.CheckTimeouts), Detail: "find-a-free-server",
		Why: "The default of timeout queue is timeout connect; it starts when every server has maxconn requests in " +
			"flight.",
		Instead: "`timeout queue 5s` in the backend, and `maxconn` on the servers.",
	},
	{
		Check:   string(plan.CheckTimeouts),
		Why:     "Each timeout is a limit of inactivity and starts again with every attempt.",
		Instead: "Compare the time in the counter-example with the timeouts of the frontend, the backend and defaults.",
	},
	{
		Check: string(plan.CheckFraming),
		Why: "HAProxy 2.6 drops Content-Length if there is Transfer-Encoding, and refuses different lengths. option " +
			"accept-invalid-http-request relaxes its checks.",
		Instead: "Remove `option accept-invalid-http-request` and run the latest patch release; keep the counter-example, " +
			"it is a request-smuggling report.",
	},
	{
		Check:   string(plan.CheckBody),
		Why:     "HAProxy does not limit bodies, and a chunked body has no Content-Length to compare.",
		Instead: "`http-request deny deny_status 413 if { hdr_val(content-length) gt 1048576 }` for bodies with a length.",
	},
	{
		Check: string(plan.CheckCompression),
		Why: "HAProxy compresses only statuses 200 to 203 in HTTP/1.1 or later, only the types listed, and nothing " +
			"with Content-Encoding or Cache-Control: no-transform.",
		Instead: "`compression algo gzip` and `compression type text/html text/plain application/json` in the section.",
	},
	{
		Check: string(plan.CheckWebSocket),
		Why: "A rule or a missing server refused the handshake, or a short timeout tunnel ended it; HAProxy itself " +
			"passes upgrades in mode http.",
		Instead: "`timeout tunnel 1h` in the backend, and `use_backend ws if { hdr(upgrade) -i websocket }` for a backend " +
			"of its own.",
	},
	{
		Check:   string(plan.CheckMirror),
		Why:     "HAProxy copies requests only with an SPOE agent, which samples them and may drop them under load.",
		Instead: "`filter spoe engine mirror config FILE` with the agent spoa-mirror.",
	},
	{
		Check: string(plan.CheckKeepalive),
		Why: "option http-server-close and option httpclose close the connection to the server after each response; " +
			"http-reuse never keeps connections of different clients apart.",
		Instead: "`option http-keep-alive`, without the other two, and `http-reuse safe`, which is the default, or " +
			"`http-reuse always`.",
	},
	{
		Check: string(plan.CheckResolve),
		Why:   "Names of servers are resolved once, at startup, unless the server has resolvers.",
		Instead: "`resolvers dns` with `nameserver ns1 ADDRESS:53`, and `server NAME HOST:PORT check resolvers dns " +
			"init-addr last,libc,none`.",
	},
	{
		Check: string(plan.CheckReload),
		Why: "The old process closes the idle connections of clients once the new one listens; a request already on " +
			"its way on one of them is lost unless the client sends it again.",
		Instead: "`option idle-close-on-response` in the frontend or in defaults, which closes such a connection only " +
			"after its next response or its timeout.",
	},
}, reading.Advice)
