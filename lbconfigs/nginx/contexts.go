package nginx

import (
	"slices"
	"strings"

	crossplane "github.com/nginxinc/nginx-go-crossplane"
)

// The bits of crossplane for the blocks of a configuration.
const (
	inMain     = 1 << 18
	inHTTP     = 1 << 25
	inServer   = 1 << 26
	inLocation = 1 << 27
	inUpstream = 1 << 28
	anyContext = 0 // not checked
)

// allowedIn returns the blocks that allow a directive of nginx; ok reports whether block is one of them.
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
	isUnknown := !known || len(blocks) == 0 || block == anyContext
	return strings.Join(blocks, " or "), isUnknown || all&block != 0
}

// blockNames are the names of the blocks, from the outside in.
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
	"split_clients": ", and proxy to its variable in the location: proxy_pass http://$variant",
}

// readMisplaced reads directives of the http block that are in an inner block. nginx rejects them there, but their
// claims are listed as well.
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
