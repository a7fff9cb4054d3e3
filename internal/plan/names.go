package plan

import (
	"strings"

	"github.com/lbproof/lbproof/internal/model"
)

// harnessSuffix ends the name of every node that is lbproof's own. No host name has an @ in it.
const harnessSuffix = "@lbproof"

// WorkerName is the node that the traffic comes from.
const WorkerName = "worker" + harnessSuffix

// HarnessName is the name of a node of lbproof's own, which no server of a configuration can have: "nginx@lbproof".
func HarnessName(short string) string { return short + harnessSuffix }

// ShortName is a node's name without what marks it as lbproof's own.
func ShortName(node string) string { return strings.TrimSuffix(node, harnessSuffix) }

// HostName is the host name of a node that has no address of its own: "nginx.lbproof.internal" of "nginx@lbproof", and a
// server's name in the one spelling that all of its spellings share.
func HostName(node string) string {
	if short, own := strings.CutSuffix(node, harnessSuffix); own {
		return short + "." + model.ReservedDomain
	}
	return model.NormalizeHost(node)
}
