package plan

import (
	"strings"

	"github.com/lbproof/lbproof/internal/model"
)

// ownMark ends the name of every node that is lbproof's own. No host name has an @ in it.
const ownMark = "@lbproof"

// WorkerName is the node that the traffic comes from.
const WorkerName = "worker" + ownMark

// OwnName is the name of a node of lbproof's own, which no server of a configuration can have: "nginx@lbproof".
func OwnName(short string) string { return short + ownMark }

// Short is a node's name without what marks it as lbproof's own.
func Short(node string) string { return strings.TrimSuffix(node, ownMark) }

// HostOf is the host name of a node that has no address of its own: "nginx.lbproof.internal" of "nginx@lbproof", and a
// server's name in the one spelling that all of its spellings share.
func HostOf(node string) string {
	if short, own := strings.CutSuffix(node, ownMark); own {
		return short + "." + model.Reserved
	}
	return model.FoldHost(node)
}
