package haproxy

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/lbconfigs/reading"
)

// unreadReasons are the keywords of proxies that promise nothing of their own, and why; an empty reason is one that is read.
var unreadReasons = reading.IndexReasons(map[string]string{
	"": `
		acl balance bind compression cookie default-server default_backend hash-type http-after-response
		http-check http-request http-response mode monitor-uri redirect retries retry-on server stats stick
		stick-table timeout use_backend`,
	reading.ReasonForm:    "description id enabled disabled",
	reading.ReasonContent: "errorfile errorfiles errorloc errorloc302 errorloc303 http-error",
	reading.ReasonLog:     "log log-format log-format-sd log-tag error-log-format capture email-alert declare",
	reading.ReasonFiles:   "load-server-state-from-file server-state-file-name",
	reading.ReasonLimits:  "maxconn backlog fullconn",
	reading.ReasonSpeed: `
		http-reuse max-keep-alive-queue clitcpka-cnt clitcpka-idle clitcpka-intvl srvtcpka-cnt srvtcpka-idle
		srvtcpka-intvl`,
	reading.ReasonUnread: `
		unique-id-format unique-id-header rate-limit http-send-name-header source use-server server-template
		external-check filter force-persist ignore-persist persist hash-balance-factor monitor tcp-check
		tcp-request tcp-response use-fcgi-app dispatch transparent`,
})

// knownOptions are the options of proxies.
var knownOptions = reading.IndexReasons(map[string]string{
	"": "forwardfor httpchk redispatch http-server-close httpclose http-keep-alive",
	reading.ReasonLog: `
		httplog tcplog dontlognull dontlog-normal log-health-checks log-separate-errors logasap httpslog clf`,
	reading.ReasonSpeed: `
		clitcpka contstats http-no-delay nolinger socket-stats splice-auto splice-request splice-response
		srvtcpka tcp-smart-accept tcp-smart-connect tcpka`,
	reading.ReasonUnread: `
		abortonclose accept-invalid-http-request accept-invalid-http-response allbackups checkcache
		disable-h2-upgrade forceclose http-buffer-request http-ignore-probes http-pretend-keepalive
		http-restrict-req-hdr-names http-use-proxy-header http-use-htx h1-case-adjust-bogus-client
		h1-case-adjust-bogus-server idle-close-on-response independent-streams ldap-check external-check
		mysql-check originalto persist pgsql-check prefer-last-server redis-check smtpchk spop-check
		ssl-hello-chk tcp-check transparent`,
})

// globalKeywords are the keywords of the global section; those of globalFamilies are known too.
var globalKeywords = strings.Fields(`51degrees-cache-size busy-polling ca-base chroot close-spread-time
cluster-secret cpu-map crt-base daemon default-path description deviceatlas-json-file
expose-experimental-directives external-check fd-hard-limit gid grace group h1-accept-payload-with-any-method
h1-case-adjust h1-case-adjust-file h2-workaround-bogus-websocket-clients hard-stop-after insecure-fork-wanted
insecure-setuid-wanted issuers-chain-path localpeer log log-send-hostname log-tag master-worker max-spread-checks
maxcompcpuusage maxcomprate maxconn maxconnrate maxpipes maxsessrate maxsslconn maxsslrate maxzlibmem
mworker-max-reloads nbthread no no-memory-trimming node noepoll noevports nogetaddrinfo nokqueue nopoll
noreuseport nosplice numa-cpu-mapping pidfile pp2-never-send-local presetenv quiet resetenv server-state-base
server-state-file set-dumpable set-var set-var-fmt setenv spread-checks stats strict-limits thread-group
thread-groups uid ulimit-n unix-bind unsetenv user wurfl-data-file zero-warning`)

// globalFamilies are what further keywords of the global section begin with.
var globalFamilies = strings.Fields("tune. ssl- httpclient. lua- profiling. 51degrees- deviceatlas- wurfl-")

// serverValues are the options of servers that take a value, which is the next word.
var serverValues = strings.Fields(`addr agent-addr agent-inter agent-port agent-send alpn ca-file check-alpn
check-proto check-sni ciphers ciphersuites client-sigalgs cookie crl-file crt curves downinter error-limit fall
fastinter id init-addr inter interface log-bufsize log-proto max-reuse maxconn maxqueue minconn namespace npn
observe on-error on-marked-down on-marked-up pool-low-conn pool-max-conn pool-purge-delay port proto
proxy-v2-options redir resolve-net resolve-opts resolve-prefer resolvers rise set-proxy-v2-tlv-fmt shard sigalgs
slowstart sni socks4 source ssl-max-ver ssl-min-ver tcp-ut track usesrc verify verifyhost weight ws`)

// replacedKeywords are keywords that HAProxy had once or has under another name.
var replacedKeywords = map[string]string{
	"nbproc":          "nbthread: one process with several threads",
	"reqadd":          "http-request add-header NAME VALUE",
	"reqrep":          "http-request replace-header or replace-path",
	"reqirep":         "http-request replace-header or replace-path",
	"reqdel":          "http-request del-header NAME",
	"rspadd":          "http-response add-header NAME VALUE",
	"rspdel":          "http-response del-header NAME",
	"block":           "http-request deny if …",
	"clitimeout":      "timeout client",
	"srvtimeout":      "timeout server",
	"contimeout":      "timeout connect",
	"default-backend": "default_backend",
	"use-backend":     "use_backend",
	"health-check":    "option httpchk and server … check",
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
				r.readNegatedOption(l)
				continue
			}
			why, known := unreadReasons[word]
			if word == "option" {
				word = "option " + l.word(1)
				why, known = knownOptions[l.word(1)]
			}
			r.keyword(l, word, why, known)
		default:
			r.cfg.Unread = append(r.cfg.Unread, model.Unread{
				Pos: l.pos, Text: l.text(), Reason: "lbproof draws no promise from a section " + s.kind,
			})
		}
		if word == "acl" && len(l.words) > 2 {
			r.checkCriterion(l, l.wordsFrom(2))
			r.checkUnusedACL(s, l)
		}
	}
}

func (r *reader) keyword(l statement, word, why string, known bool) {
	if !known {
		r.problem(model.Problem{
			Pos: l.pos, Effect: model.Rejected,
			Text:    fmt.Sprintf("HAProxy 2.6 has no keyword %s here", word),
			Instead: replacedKeywords[word],
		})
		why = reading.ReasonUnread
	}
	if why != "" {
		r.cfg.Unread = append(r.cfg.Unread, model.Unread{Pos: l.pos, Text: l.text(), Reason: why})
	}
}

func (r *reader) globalKeyword(l statement) {
	word := l.word(0)
	if word == "ssl-default-bind-ciphers" || word == "ssl-default-bind-options" {
		return // read with the binds
	}
	if l.startsWith("stats", "socket") {
		if at := strings.TrimPrefix(l.word(2), "unix@"); isSocketDir(path.Dir(at)) {
			r.cfg.Sockets = append(r.cfg.Sockets, model.Socket{Pos: l.pos, Path: at, Command: "show stat", Counter: statistics})
			return
		}
	}
	known := slices.Contains(globalKeywords, word)
	for _, family := range globalFamilies {
		known = known || strings.HasPrefix(word, family)
	}
	why := reading.ReasonSpeed
	switch word {
	case "log", "log-tag", "log-send-hostname":
		why = reading.ReasonLog
	case "maxconn", "ulimit-n", "maxsslconn":
		why = reading.ReasonLimits
	case "user", "group", "uid", "gid", "chroot", "pidfile", "daemon", "stats", "ca-base", "crt-base":
		why = reading.ReasonFiles
	}
	r.keyword(l, word, why, known)
}

// isSocketDir says whether a directory may be one of the sockets' own, which nothing else needs.
func isSocketDir(dir string) bool {
	shared := dir == "/var/run" || dir == "/var/lib"
	return path.IsAbs(dir) && strings.Count(dir, "/") > 1 && !shared
}

// checkUnusedACL tells of an ACL that no line of its section asks for.
func (r *reader) checkUnusedACL(s section, l statement) {
	name := l.word(1)
	if r.words[s.pos][name] {
		return
	}
	if !r.reportedACLs[name] {
		r.reportedACLs[name] = true
		r.problem(model.Problem{
			Pos: l.pos, Effect: model.Inert,
			Text:    "no line of this section asks for the ACL " + name,
			Instead: "a rule with if " + name,
		})
	}
}

// permanentOptions are the options that "no" cannot put off again: what they put on in a defaults section stays on.
var permanentOptions = strings.Fields(`forwardfor httpchk httplog tcplog httpslog clf http-restrict-req-hdr-names
ldap-check external-check mysql-check originalto pgsql-check redis-check smtpchk spop-check ssl-hello-chk
tcp-check tcpka`)

// readNegatedOption tells of an option that cannot be put off.
func (r *reader) readNegatedOption(l statement) {
	option := l.word(2)
	if _, known := knownOptions[option]; !known {
		r.keyword(l, "option "+option, reading.ReasonUnread, false)
		return
	}
	if slices.Contains(permanentOptions, option) {
		r.problem(model.Problem{
			Pos: l.pos, Effect: model.Rejected,
			Text:    fmt.Sprintf("HAProxy 2.6 takes no \"no\" before option %s", option),
			Instead: "a defaults section of its own, without that option",
		})
	}
}
