package reports

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/report"
)

func TestWriteMutations(t *testing.T) {
	all := []report.Mutation{
		{Pos: model.Pos{File: "n.conf", Line: 3}, Old: "weight=3", New: "weight=2", Claims: []string{"weights/a"}, Outcome: report.MutationKilled, OtherKillers: []string{"tls/b"}, Duration: time.Second},
		{Pos: model.Pos{File: "n.conf", Line: 3}, Old: "weight=3", New: "", Claims: []string{"weights/a"}, Outcome: report.MutationSurvived, Reason: "weights/a is undecided", Duration: time.Second},
		{Pos: model.Pos{File: "n.conf", Line: 4}, Old: "a", New: "b", Claims: []string{"c"}, Outcome: report.MutationRefused},
		{Pos: model.Pos{File: "n.conf", Line: 5}, Old: "a", New: "b", Claims: []string{"c"}, Outcome: report.MutationOriginalRefuted},
		{Pos: model.Pos{File: "n.conf", Line: 6}, Old: "1h", New: "2h", Claims: []string{"d"}, Outcome: report.MutationUntestable, Reason: "d is untestable: it takes 1h"},
	}
	var b strings.Builder
	require.NoError(t, WriteMutations(&b, all))
	assert.Equal(t, `1 of 2 lines with claims are tested (50 %): 1 mutations killed, 1 refused by the
  balancer, 1 survived, 1 untestable (runs took 2s)

SURVIVED  n.conf:3
   without "weight=3"
   claims    weights/a
   reason    weights/a is undecided

UNTESTABLE  n.conf:6
   "2h" instead of "1h"
   reason    d is untestable: it takes 1h

killed  n.conf:3
   "weight=2" instead of "weight=3"
   also      refutes promises of other lines: tls/b
`, b.String())
	assert.Equal(t, 1, report.Survivors(all))
}
