package haproxy

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/lbconfigs/reading"
)

// bind reads a listener and its TLS settings.
func (r *reader) bind(l statement) ([]model.Listener, error) {
	var out []model.Listener
	has := func(word string) bool { return slices.Contains(l.words, word) }
	for _, addr := range strings.Split(l.word(1), ",") {
		if strings.HasPrefix(addr, "/") || strings.HasPrefix(addr, "unix@") {
			continue
		}
		port, err := strconv.ParseUint(addr[strings.LastIndex(addr, ":")+1:], 10, 16)
		if err != nil {
			return nil, fmt.Errorf("%s: bind %s: no port", l.pos, addr)
		}
		out = append(out, model.Listener{
			Pos: l.pos, Port: int(port), TLS: has("ssl"), HTTP2: strings.Contains(l.wordAfter("alpn"), "h2"),
		})
	}
	if has("ssl") {
		r.tls(l, out)
	}
	return out, nil
}

func (r *reader) tls(l statement, listeners []model.Listener) {
	tls := model.TLS{Pos: l.pos, VersionsPos: l.pos, Implicit: true, Versions: []string{"TLSv1.2", "TLSv1.3"}}
	for _, listener := range listeners {
		tls.Ports = append(tls.Ports, listener.Port)
	}
	options := l
	if global, ok := r.global.last("ssl-default-bind-options"); ok {
		options.words = append(slices.Clone(global.words), l.words...)
		tls.VersionsPos = global.pos
	}
	if versions := tlsVersions(options); versions != nil {
		tls.Versions, tls.Implicit = versions, false
	}
	if slices.Contains(options.words, "no-tls-tickets") {
		tls.TicketsOff = &tls.VersionsPos
	}
	r.ciphers(l, &tls)
	if crt := l.wordAfter("crt"); crt != "" {
		tls.Certificate, tls.CertPos = crt, l.pos
		if strings.HasSuffix(crt, "/") { // every file of the directory is a certificate with key
			crt += "lbproof.pem"
		}
		r.cfg.Needs = append(r.cfg.Needs, model.Need{
			Pos: l.pos, Kind: model.NeedCertificate, Path: reading.PathIn(r.certificates(), crt),
		})
	} else {
		r.problem(model.Problem{
			Pos: l.pos, Effect: model.Rejected,
			Text:    "bind has ssl but no certificate",
			Instead: "bind … ssl crt /etc/haproxy/certs/",
		})
	}
	if len(listeners) > 0 { // sockets are not tested
		r.cfg.TLS = append(r.cfg.TLS, tls)
	}
}

// ciphers reads the cipher suites of a bind, or the default ones, and reports problems of each list once.
func (r *reader) ciphers(l statement, tls *model.TLS) {
	if c := l.wordAfter("ciphers"); c != "" {
		tls.Ciphers, tls.CiphersPos = c, l.pos
	} else if global, ok := r.global.last("ssl-default-bind-ciphers"); ok {
		tls.Ciphers, tls.CiphersPos = global.word(1), global.pos
	}
	reported := slices.ContainsFunc(r.cfg.TLS, func(t model.TLS) bool { return t.CiphersPos == tls.CiphersPos })
	if tls.Ciphers != "" && !reported {
		r.cfg.Problems = append(r.cfg.Problems, reading.CheckCiphers(tls.CiphersPos, tls.Ciphers)...)
	}
}

// certificates returns the directory of certificates with a relative path.
func (r *reader) certificates() string {
	if l, ok := r.global.last("crt-base"); ok {
		return l.word(1)
	}
	return confDir
}

// tlsVersions returns the TLS versions that options leave enabled; nil if no option restricts them.
func tlsVersions(options statement) []string {
	all := []string{"TLSv1.0", "TLSv1.1", "TLSv1.2", "TLSv1.3"}
	words := []string{"no-tlsv10", "no-tlsv11", "no-tlsv12", "no-tlsv13"}
	var left []string
	restricted := false
	low, high := slices.Index(all, options.wordAfter("ssl-min-ver")), slices.Index(all, options.wordAfter("ssl-max-ver"))
	for i, v := range all {
		switch {
		case low >= 0 && i < low, high >= 0 && i > high, slices.Contains(options.words, words[i]):
			restricted = true
		case low < 0 && i < 2 && !slices.Contains(options.words, "ssl-min-ver"): // HAProxy 2.2 and later start at TLSv1.2
		default:
			left = append(left, v)
		}
	}
	if !restricted {
		return nil
	}
	return left
}
