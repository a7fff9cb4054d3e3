package requests_test

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/report"
	"github.com/lbproof/lbproof/scenarios/checks/checkstest"
)

// An endpoint behind access rules cannot be refuted by refusals.
func TestLimitedEndpointIsNotRefuted(t *testing.T) {
	v := checkstest.Outcome(t, "endpoint/nginx-health", func(h *history.History) {
		h.Plan.Config.Routes = slices.Clone(h.Plan.Config.Routes)
		for i := range h.Plan.Config.Routes {
			h.Plan.Config.Routes[i].Access = []model.Access{{Clients: "all"}}
		}
		hits := h.Hits
		h.Hits = func(yield func(history.Hit) bool) {
			hits(func(x history.Hit) bool {
				x.Code = 503
				return yield(x)
			})
		}
	})
	assert.Equal(t, report.Undecided, v.Outcome, v.Reason)
}
