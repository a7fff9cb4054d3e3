package traefik

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/lbproof/lbproof/internal/model"
)

func TestReadTrip(t *testing.T) {
	f := func(expression string, byErrors bool, want ...model.StatusShare) {
		t.Helper()
		trip := readTrip(expression)
		assert.Equal(t, want, trip.Shares)
		assert.Equal(t, byErrors, trip.OpensOnErrors())
		assert.Equal(t, expression, trip.String())
	}
	share := func(from, to int) model.StatusShare {
		all := model.StatusRange{From: 0, To: 599}
		return model.StatusShare{Numerator: model.StatusRange{From: from, To: to}, Denominator: all}
	}
	f("ResponseCodeRatio(500, 600, 0, 600) > 0.25", true, share(500, 599))
	f("NetworkErrorRatio() > 0.10 || ResponseCodeRatio(500,600,0,600) > 0.5", true, share(500, 599))
	f("ResponseCodeRatio(501, 600, 0, 600) > 0.25", false, share(501, 599))
	f("ResponseCodeRatio(400, 600, 0, 600) > 0.25", true, share(400, 599))
	f("LatencyAtQuantileMS(50.0) > 100", false)
	f("", false)
}
