package lbconfigs

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/lbproof/lbproof/internal/model"
)

// haSilent are the keywords of proxies that promise nothing of their own, and why; an empty reason is one that is read.
var haSilent = map[string]string{
	"acl": "", "balance": "", "bind": "", "compression": "", "cookie": "", "default-server": "", "default_backend": "", "hash-type": "", "http-after-response": "",
	"http-check": "", "http-request": "", "http-response": "", "mode": "", "monitor-uri": "", "redirect": "", "retries": "", "retry-on": "", "server": "", "stats": "", "stick": "", "stick-table": "",
	"timeout": "", "use_backend": "",

	"log": whyLog, "log-format": whyLog, "log-format-sd": whyLog, "log-tag": whyLog, "error-log-format": whyLog, "capture": whyLog, "unique-id-format": whyUnread, "unique-id-header": whyUnread,
	"maxconn": whyLimits, "backlog": whyLimits, "fullconn": whyLimits, "rate-limit": whyUnread, "description": whyForm, "id": whyForm, "enabled": whyForm, "disabled": whyForm,
	"http-reuse": whySpeed, "max-keep-alive-queue": whySpeed, "http-send-name-header": whyUnread, "source": whyUnread, "use-server": whyUnread, "server-template": whyUnread,
	"errorfile": whyAnswer, "errorfiles": whyAnswer, "errorloc": whyAnswer, "errorloc302": whyAnswer, "errorloc303": whyAnswer, "http-error": whyAnswer,
	"email-alert": whyLog, "external-check": whyUnread, "filter": whyUnread, "force-persist": whyUnread, "ignore-persist": whyUnread, "persist": whyUnread,
	"hash-balance-factor": whyUnread, "load-server-state-from-file": whyFiles, "server-state-file-name": whyFiles, "monitor": whyUnread, "declare": whyLog,
	"tcp-check": whyUnread, "tcp-request": whyUnread, "tcp-response": whyUnread, "use-fcgi-app": whyUnread, "dispatch": whyUnread, "transparent": whyUnread,
	"clitcpka-cnt": whySpeed, "clitcpka-idle": whySpeed, "clitcpka-intvl": whySpeed, "srvtcpka-cnt": whySpeed, "srvtcpka-idle": whySpeed, "srvtcpka-intvl": whySpeed,
}

// haOptions are the options of proxies.
var haOptions = map[string]string{
	"forwardfor": "", "httpchk": "", "redispatch": "", "http-server-close": "", "httpclose": "", "http-keep-alive": "",
	"httplog": whyLog, "tcplog": whyLog, "dontlognull": whyLog, "dontlog-normal": whyLog, "log-health-checks": whyLog, "log-separate-errors": whyLog, "logasap": whyLog,
	"httpslog": whyLog, "clf": whyLog,
	"abortonclose": whyUnread, "accept-invalid-http-request": whyUnread, "accept-invalid-http-response": whyUnread, "allbackups": whyUnread, "checkcache": whyUnread,
	"clitcpka": whySpeed, "contstats": whySpeed, "disable-h2-upgrade": whyUnread, "forceclose": whyUnread, "http-buffer-request": whyUnread, "http-ignore-probes": whyUnread,
	"http-no-delay": whySpeed, "http-pretend-keepalive": whyUnread, "http-restrict-req-hdr-names": whyUnread, "http-use-proxy-header": whyUnread, "http-use-htx": whyUnread,
	"h1-case-adjust-bogus-client": whyUnread, "h1-case-adjust-bogus-server": whyUnread, "idle-close-on-response": whyUnread, "independent-streams": whyUnread,
	"ldap-check": whyUnread, "external-check": whyUnread, "mysql-check": whyUnread, "nolinger": whySpeed, "originalto": whyUnread, "persist": whyUnread,
	"pgsql-check": whyUnread, "prefer-last-server": whyUnread, "redis-check": whyUnread, "smtpchk": whyUnread, "socket-stats": whySpeed, "splice-auto": whySpeed,
	"splice-request": whySpeed, "splice-response": whySpeed, "spop-check": whyUnread, "srvtcpka": whySpeed, "ssl-hello-chk": whyUnread, "tcp-check": whyUnread,
	"tcp-smart-accept": whySpeed, "tcp-smart-connect": whySpeed, "tcpka": whySpeed, "transparent": whyUnread,
}

// haGlobal are the keywords of the global section; those that begin with tune., ssl-, httpclient., lua- and profiling. are known too.
var haGlobal = strings.Fields(`51degrees-cache-size busy-polling ca-base chroot close-spread-time cluster-secret cpu-map crt-base daemon default-path description
deviceatlas-json-file expose-experimental-directives external-check fd-hard-limit gid grace group h1-accept-payload-with-any-method h1-case-adjust h1-case-adjust-file
h2-workaround-bogus-websocket-clients hard-stop-after insecure-fork-wanted insecure-setuid-wanted issuers-chain-path localpeer log log-send-hostname log-tag
master-worker max-spread-checks maxcompcpuusage maxcomprate maxconn maxconnrate maxpipes maxsessrate maxsslconn maxsslrate maxzlibmem mworker-max-reloads
nbthread no no-memory-trimming node noepoll noevports nogetaddrinfo nokqueue nopoll noreuseport nosplice numa-cpu-mapping pidfile pp2-never-send-local
presetenv quiet resetenv server-state-base server-state-file set-dumpable set-var set-var-fmt setenv spread-checks stats strict-limits thread-group thread-groups
uid ulimit-n unix-bind unsetenv user wurfl-data-file zero-warning`)

// haServerValues are the options of servers that take a value, which is the next word.
var haServerValues = strings.Fields(`addr agent-addr agent-inter agent-port agent-send alpn ca-file check-alpn check-proto check-sni ciphers ciphersuites
client-sigalgs cookie crl-file crt curves downinter error-limit fall fastinter id init-addr inter interface log-bufsize log-proto max-reuse maxconn maxqueue
minconn namespace npn observe on-error on-marked-down on-marked-up pool-low-conn pool-max-conn pool-purge-delay port proto proxy-v2-options redir resolve-net
resolve-opts resolve-prefer resolvers rise set-proxy-v2-tlv-fmt shard sigalgs slowstart sni socks4 source ssl-max-ver ssl-min-ver tcp-ut track usesrc verify
verifyhost weight ws`)

// haGone are keywords that HAProxy had once or has under another name.
var haGone = map[string]string{
	"nbproc": "nbthread: one process with several threads", "reqadd": "http-request add-header NAME VALUE", "reqrep": "http-request replace-header or replace-path",
	"reqirep": "http-request replace-header or replace-path", "reqdel": "http-request del-header NAME", "rspadd": "http-response add-header NAME VALUE",
	"rspdel": "http-response del-header NAME", "block": "http-request deny if …", "clitimeout": "timeout client", "srvtimeout": "timeout server",
	"contimeout": "timeout connect", "default-backend": "default_backend", "use-backend": "use_backend", "health-check": "option httpchk and server … check",
}

// keywords lists what a section says that carries no claim, and what HAProxy does not know.
func (r *haReader) keywords(s haSection) {
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
			why, known := haSilent[word]
			if word == "option" {
				word = "option " + l.word(1)
				why, known = haOptions[l.word(1)]
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

func (r *haReader) keyword(l haLine, word, why string, known bool) {
	if !known {
		p := model.Problem{Pos: l.pos, Effect: model.Rejected, Text: fmt.Sprintf("HAProxy 2.6 has no keyword %s here", word), Instead: haGone[word]}
		r.problem(p)
		why = whyUnread
	}
	if why != "" {
		r.cfg.Unread = append(r.cfg.Unread, model.Unread{Pos: l.pos, Text: l.text(), Why: why})
	}
}

func (r *haReader) globalKeyword(l haLine) {
	word := l.word(0)
	if word == "ssl-default-bind-ciphers" || word == "ssl-default-bind-options" {
		return // read with the binds
	}
	if at := strings.TrimPrefix(l.word(2), "unix@"); word == "stats" && l.word(1) == "socket" && ownDir(path.Dir(at)) {
		r.cfg.Sockets = append(r.cfg.Sockets, model.Socket{Pos: l.pos, Path: at})
		return
	}
	known := slices.Contains(haGlobal, word)
	for _, family := range []string{"tune.", "ssl-", "httpclient.", "lua-", "profiling.", "51degrees-", "deviceatlas-", "wurfl-"} {
		known = known || strings.HasPrefix(word, family)
	}
	why := whySpeed
	switch word {
	case "log", "log-tag", "log-send-hostname":
		why = whyLog
	case "maxconn", "ulimit-n", "maxsslconn":
		why = whyLimits
	case "user", "group", "uid", "gid", "chroot", "pidfile", "daemon", "stats", "ca-base", "crt-base":
		why = whyFiles
	}
	r.keyword(l, word, why, known)
}

// ownDir says whether a directory may be one of the sockets' own, which nothing else needs.
func ownDir(dir string) bool {
	return path.IsAbs(dir) && strings.Count(dir, "/") > 1 && dir != "/var/run" && dir != "/var/lib"
}

// unusedACL tells of an ACL that no line of its section asks for.
func (r *haReader) unusedACL(s haSection, l haLine) {
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

// haFixed are the options that "no" cannot put off again: what they put on in a defaults section stays on.
var haFixed = strings.Fields(`forwardfor httpchk httplog tcplog httpslog clf http-restrict-req-hdr-names ldap-check external-check mysql-check
originalto pgsql-check redis-check smtpchk spop-check ssl-hello-chk tcp-check tcpka`)

// negated tells of an option that cannot be put off.
func (r *haReader) negated(l haLine) {
	option := l.word(2)
	if _, known := haOptions[option]; !known {
		r.keyword(l, "option "+option, whyUnread, false)
		return
	}
	if slices.Contains(haFixed, option) {
		r.problem(model.Problem{
			Pos: l.pos, Effect: model.Rejected,
			Text:    fmt.Sprintf("HAProxy 2.6 takes no \"no\" before option %s", option),
			Instead: "a defaults section of its own, without that option",
		})
	}
}
