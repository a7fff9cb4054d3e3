package haproxy

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/lbconfigs/reading"
)

// silent are the keywords of proxies that promise nothing of their own, and why; an empty reason is one that is read.
var silent = map[string]string{
	"acl": "", "balance": "", "bind": "", "compression": "", "cookie": "", "default-server": "", "default_backend": "", "hash-type": "", "http-after-response": "",
	"http-check": "", "http-request": "", "http-response": "", "mode": "", "monitor-uri": "", "redirect": "", "retries": "", "retry-on": "", "server": "", "stats": "", "stick": "", "stick-table": "",
	"timeout": "", "use_backend": "",

	"log": reading.WhyLog, "log-format": reading.WhyLog, "log-format-sd": reading.WhyLog, "log-tag": reading.WhyLog, "error-log-format": reading.WhyLog, "capture": reading.WhyLog, "unique-id-format": reading.WhyUnread, "unique-id-header": reading.WhyUnread,
	"maxconn": reading.WhyLimits, "backlog": reading.WhyLimits, "fullconn": reading.WhyLimits, "rate-limit": reading.WhyUnread, "description": reading.WhyForm, "id": reading.WhyForm, "enabled": reading.WhyForm, "disabled": reading.WhyForm,
	"http-reuse": reading.WhySpeed, "max-keep-alive-queue": reading.WhySpeed, "http-send-name-header": reading.WhyUnread, "source": reading.WhyUnread, "use-server": reading.WhyUnread, "server-template": reading.WhyUnread,
	"errorfile": reading.WhyAnswer, "errorfiles": reading.WhyAnswer, "errorloc": reading.WhyAnswer, "errorloc302": reading.WhyAnswer, "errorloc303": reading.WhyAnswer, "http-error": reading.WhyAnswer,
	"email-alert": reading.WhyLog, "external-check": reading.WhyUnread, "filter": reading.WhyUnread, "force-persist": reading.WhyUnread, "ignore-persist": reading.WhyUnread, "persist": reading.WhyUnread,
	"hash-balance-factor": reading.WhyUnread, "load-server-state-from-file": reading.WhyFiles, "server-state-file-name": reading.WhyFiles, "monitor": reading.WhyUnread, "declare": reading.WhyLog,
	"tcp-check": reading.WhyUnread, "tcp-request": reading.WhyUnread, "tcp-response": reading.WhyUnread, "use-fcgi-app": reading.WhyUnread, "dispatch": reading.WhyUnread, "transparent": reading.WhyUnread,
	"clitcpka-cnt": reading.WhySpeed, "clitcpka-idle": reading.WhySpeed, "clitcpka-intvl": reading.WhySpeed, "srvtcpka-cnt": reading.WhySpeed, "srvtcpka-idle": reading.WhySpeed, "srvtcpka-intvl": reading.WhySpeed,
}

// knownOptions are the options of proxies.
var knownOptions = map[string]string{
	"forwardfor": "", "httpchk": "", "redispatch": "", "http-server-close": "", "httpclose": "", "http-keep-alive": "",
	"httplog": reading.WhyLog, "tcplog": reading.WhyLog, "dontlognull": reading.WhyLog, "dontlog-normal": reading.WhyLog, "log-health-checks": reading.WhyLog, "log-separate-errors": reading.WhyLog, "logasap": reading.WhyLog,
	"httpslog": reading.WhyLog, "clf": reading.WhyLog,
	"abortonclose": reading.WhyUnread, "accept-invalid-http-request": reading.WhyUnread, "accept-invalid-http-response": reading.WhyUnread, "allbackups": reading.WhyUnread, "checkcache": reading.WhyUnread,
	"clitcpka": reading.WhySpeed, "contstats": reading.WhySpeed, "disable-h2-upgrade": reading.WhyUnread, "forceclose": reading.WhyUnread, "http-buffer-request": reading.WhyUnread, "http-ignore-probes": reading.WhyUnread,
	"http-no-delay": reading.WhySpeed, "http-pretend-keepalive": reading.WhyUnread, "http-restrict-req-hdr-names": reading.WhyUnread, "http-use-proxy-header": reading.WhyUnread, "http-use-htx": reading.WhyUnread,
	"h1-case-adjust-bogus-client": reading.WhyUnread, "h1-case-adjust-bogus-server": reading.WhyUnread, "idle-close-on-response": reading.WhyUnread, "independent-streams": reading.WhyUnread,
	"ldap-check": reading.WhyUnread, "external-check": reading.WhyUnread, "mysql-check": reading.WhyUnread, "nolinger": reading.WhySpeed, "originalto": reading.WhyUnread, "persist": reading.WhyUnread,
	"pgsql-check": reading.WhyUnread, "prefer-last-server": reading.WhyUnread, "redis-check": reading.WhyUnread, "smtpchk": reading.WhyUnread, "socket-stats": reading.WhySpeed, "splice-auto": reading.WhySpeed,
	"splice-request": reading.WhySpeed, "splice-response": reading.WhySpeed, "spop-check": reading.WhyUnread, "srvtcpka": reading.WhySpeed, "ssl-hello-chk": reading.WhyUnread, "tcp-check": reading.WhyUnread,
	"tcp-smart-accept": reading.WhySpeed, "tcp-smart-connect": reading.WhySpeed, "tcpka": reading.WhySpeed, "transparent": reading.WhyUnread,
}

// globalKeywords are the keywords of the global section; those that begin with tune., ssl-, httpclient., lua- and profiling. are known too.
var globalKeywords = strings.Fields(`51degrees-cache-size busy-polling ca-base chroot close-spread-time cluster-secret cpu-map crt-base daemon default-path description
deviceatlas-json-file expose-experimental-directives external-check fd-hard-limit gid grace group h1-accept-payload-with-any-method h1-case-adjust h1-case-adjust-file
h2-workaround-bogus-websocket-clients hard-stop-after insecure-fork-wanted insecure-setuid-wanted issuers-chain-path localpeer log log-send-hostname log-tag
master-worker max-spread-checks maxcompcpuusage maxcomprate maxconn maxconnrate maxpipes maxsessrate maxsslconn maxsslrate maxzlibmem mworker-max-reloads
nbthread no no-memory-trimming node noepoll noevports nogetaddrinfo nokqueue nopoll noreuseport nosplice numa-cpu-mapping pidfile pp2-never-send-local
presetenv quiet resetenv server-state-base server-state-file set-dumpable set-var set-var-fmt setenv spread-checks stats strict-limits thread-group thread-groups
uid ulimit-n unix-bind unsetenv user wurfl-data-file zero-warning`)

// serverValues are the options of servers that take a value, which is the next word.
var serverValues = strings.Fields(`addr agent-addr agent-inter agent-port agent-send alpn ca-file check-alpn check-proto check-sni ciphers ciphersuites
client-sigalgs cookie crl-file crt curves downinter error-limit fall fastinter id init-addr inter interface log-bufsize log-proto max-reuse maxconn maxqueue
minconn namespace npn observe on-error on-marked-down on-marked-up pool-low-conn pool-max-conn pool-purge-delay port proto proxy-v2-options redir resolve-net
resolve-opts resolve-prefer resolvers rise set-proxy-v2-tlv-fmt shard sigalgs slowstart sni socks4 source ssl-max-ver ssl-min-ver tcp-ut track usesrc verify
verifyhost weight ws`)

// goneKeywords are keywords that HAProxy had once or has under another name.
var goneKeywords = map[string]string{
	"nbproc": "nbthread: one process with several threads", "reqadd": "http-request add-header NAME VALUE", "reqrep": "http-request replace-header or replace-path",
	"reqirep": "http-request replace-header or replace-path", "reqdel": "http-request del-header NAME", "rspadd": "http-response add-header NAME VALUE",
	"rspdel": "http-response del-header NAME", "block": "http-request deny if …", "clitimeout": "timeout client", "srvtimeout": "timeout server",
	"contimeout": "timeout connect", "default-backend": "default_backend", "use-backend": "use_backend", "health-check": "option httpchk and server … check",
}

// keywords lists what a section says that carries no claim, and what HAProxy does not know.
func (r *reader) keywords(s section) {
	for _, l := range s.own {
		word := l.word(0)
		switch s.kind {
		case "global":
			r.globalKeyword(l)
		case "defaults", "frontend", "backend", "listen":
			if word == "no" && l.word(1) == "option" {
				r.negated(l)
				continue
			}
			why, known := silent[word]
			if word == "option" {
				word = "option " + l.word(1)
				why, known = knownOptions[l.word(1)]
			}
			r.keyword(l, word, why, known)
		default:
			r.cfg.Unread = append(r.cfg.Unread, model.Unread{Pos: l.pos, Text: l.text(), Why: "lbproof draws no promise from a section " + s.kind})
		}
		if word == "acl" && len(l.words) > 2 {
			r.criterion(l, l.from(2))
			r.unusedACL(s, l)
		}
	}
}

func (r *reader) keyword(l statement, word, why string, known bool) {
	if !known {
		p := model.Problem{Pos: l.pos, Effect: model.Rejected, Text: fmt.Sprintf("HAProxy 2.6 has no keyword %s here", word), Instead: goneKeywords[word]}
		r.problem(p)
		why = reading.WhyUnread
	}
	if why != "" {
		r.cfg.Unread = append(r.cfg.Unread, model.Unread{Pos: l.pos, Text: l.text(), Why: why})
	}
}

func (r *reader) globalKeyword(l statement) {
	word := l.word(0)
	if word == "ssl-default-bind-ciphers" || word == "ssl-default-bind-options" {
		return // read with the binds
	}
	if at := strings.TrimPrefix(l.word(2), "unix@"); word == "stats" && l.word(1) == "socket" && ownDir(path.Dir(at)) {
		r.cfg.Sockets = append(r.cfg.Sockets, model.Socket{Pos: l.pos, Path: at, Command: "show stat", Counter: statistics})
		return
	}
	known := slices.Contains(globalKeywords, word)
	for _, family := range []string{"tune.", "ssl-", "httpclient.", "lua-", "profiling.", "51degrees-", "deviceatlas-", "wurfl-"} {
		known = known || strings.HasPrefix(word, family)
	}
	why := reading.WhySpeed
	switch word {
	case "log", "log-tag", "log-send-hostname":
		why = reading.WhyLog
	case "maxconn", "ulimit-n", "maxsslconn":
		why = reading.WhyLimits
	case "user", "group", "uid", "gid", "chroot", "pidfile", "daemon", "stats", "ca-base", "crt-base":
		why = reading.WhyFiles
	}
	r.keyword(l, word, why, known)
}

// ownDir says whether a directory may be one of the sockets' own, which nothing else needs.
func ownDir(dir string) bool {
	return path.IsAbs(dir) && strings.Count(dir, "/") > 1 && dir != "/var/run" && dir != "/var/lib"
}

// unusedACL tells of an ACL that no line of its section asks for.
func (r *reader) unusedACL(s section, l statement) {
	name := l.word(1)
	if r.words[s.pos][name] {
		return
	}
	if !r.told[name] {
		r.told[name] = true
		r.problem(model.Problem{
			Pos: l.pos, Effect: model.Inert,
			Text:    "no line of this section asks for the ACL " + name,
			Instead: "a rule with if " + name,
		})
	}
}

// fixedOptions are the options that "no" cannot put off again: what they put on in a defaults section stays on.
var fixedOptions = strings.Fields(`forwardfor httpchk httplog tcplog httpslog clf http-restrict-req-hdr-names ldap-check external-check mysql-check
originalto pgsql-check redis-check smtpchk spop-check ssl-hello-chk tcp-check tcpka`)

// negated tells of an option that cannot be put off.
func (r *reader) negated(l statement) {
	option := l.word(2)
	if _, known := knownOptions[option]; !known {
		r.keyword(l, "option "+option, reading.WhyUnread, false)
		return
	}
	if slices.Contains(fixedOptions, option) {
		r.problem(model.Problem{
			Pos: l.pos, Effect: model.Rejected,
			Text:    fmt.Sprintf("HAProxy 2.6 takes no \"no\" before option %s", option),
			Instead: "a defaults section of its own, without that option",
		})
	}
}
