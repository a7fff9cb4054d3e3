package plan

import (
	"strings"

	"github.com/lbproof/lbproof/internal/model"
)

// harnessSuffix ends the names of lbproof's own nodes. No host name contains an @.
const harnessSuffix = "@lbproof"

// WorkerName is the name of the node that sends the traffic.
const WorkerName = "worker" + harnessSuffix

// HarnessName returns the name of one of lbproof's own nodes, which no server can have: "nginx@lbproof".
func HarnessName(short string) string { return short + harnessSuffix }

// ShortName returns a node's name without the suffix of lbproof's own nodes.
func ShortName(node string) string { return strings.TrimSuffix(node, harnessSuffix) }

// HostName returns the host name of a node without an address of its own: "nginx.lbproof.internal" for "nginx@lbproof",
// and a server's name in its canonical spelling.
func HostName(node string) string {
	if short, own := strings.CutSuffix(node, harnessSuffix); own {
		return short + "." + model.ReservedDomain
	}
	return model.NormalizeHost(node)
}
