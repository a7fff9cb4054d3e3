package nginx

import (
	"slices"
	"strings"

	crossplane "github.com/nginxinc/nginx-go-crossplane"
)

// Blocks of a configuration, by the bits that crossplane gives them.
const (
	inMain     = 1 << 18
	inHTTP     = 1 << 25
	inServer   = 1 << 26
	inLocation = 1 << 27
	inUpstream = 1 << 28
	anyContext = 0 // not looked at
)

// allowedIn names the blocks in which a directive of nginx may stand; ok says whether block is one of them.
func allowedIn(name string, block uint) (where string, ok bool) {
	masks, known := crossplane.MatchOssLatest(name)
	var all uint
	for _, m := range masks {
		all |= m
	}
	var blocks []string
	for _, b := range blockNames {
		if all&b.mask != 0 {
			blocks = append(blocks, b.name)
		}
	}
	unsure := !known || len(blocks) == 0 || block == anyContext
	return strings.Join(blocks, " or "), unsure || all&block != 0
}

// blockNames are the blocks from the outside in, as people call them.
var blockNames = []struct {
	mask uint
	name string
}{
	{inMain, "the main context"},
	{inHTTP, "http"},
	{inServer, "server"},
	{inLocation, "location"},
	{inUpstream, "upstream"},
}

var misplacedHints = map[string]string{
	"split_clients": ", and the location proxies to its variable: proxy_pass http://$variant",
}

// readMisplaced reads what belongs into the http block and stands further inside: nginx refuses it there, and what it was
// meant to promise is told all the same.
func (r *reader) readMisplaced(block []item) error {
	for _, d := range block {
		switch d.Directive.Directive {
		case "server", "location":
			for _, inner := range r.block(d) {
				if slices.Contains([]string{"limit_req_zone", "limit_conn_zone", "split_clients"}, inner.Directive.Directive) {
					if err := r.httpDirective(inner); err != nil {
						return err
					}
				}
			}
			if err := r.readMisplaced(r.block(d)); err != nil {
				return err
			}
		}
	}
	return nil
}
