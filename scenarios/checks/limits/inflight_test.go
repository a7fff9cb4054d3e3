package limits

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/scenarios/checks/check"
	"github.com/lbproof/lbproof/scenarios/checks/outage"
)

// A request answered by a backup, which is not slowed, may have left the balancer before its client receives the
// response.
func TestBackupResponsesAreNotInFlight(t *testing.T) {
	when := outage.SlowPeriod{To: time.Second, Hosts: []string{"a"}, MinDelays: []time.Duration{400 * time.Millisecond}}
	for first, want := range map[string]int{"a": 1, "spare": 0} {
		var wrong check.Examples
		all := []limitedRequest{
			{hit: history.Hit{Seq: 1, Sent: 0, Done: 300 * time.Millisecond, Server: first}, admitted: true},
			{hit: history.Hit{Seq: 2, Sent: 10 * time.Millisecond, Done: 450 * time.Millisecond, Server: "a"}, admitted: true},
		}
		arrived := map[uint64]time.Duration{1: 5 * time.Millisecond, 2: 15 * time.Millisecond}
		inFlightTally{all: all, arrived: arrived, window: when}.judge(model.Limit{MaxInFlight: 1}, "key", &wrong)
		assert.Equal(t, want, wrong.Total, first)
	}
}
