package plan

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/lbproof/lbproof/internal/model"
)

func TestPlanCheck(t *testing.T) {
	f := func(want string, p Plan) {
		t.Helper()
		if err := p.CheckRunnable(); want != "" {
			assert.ErrorContains(t, err, want)
		} else {
			assert.NoError(t, err)
		}
	}
	f("", Plan{})
	f("", Plan{
		Phases: []Phase{{Count: 1, Requests: []Request{{}}}, {}}, Events: []Event{{Phase: 1}},
		Config: model.Config{Files: []model.File{model.NewFile("a", []byte("b"))}},
	})
	f("phase 1 (x): no requests to send", Plan{Phases: []Phase{{}, {Name: "x", Count: 1}}})
	f("phase 0 (x): count -1 is negative", Plan{Phases: []Phase{{Name: "x", Count: -1}}})
	f("event 0 (kill): there is no phase 1; the plan has 1, counted from 0", Plan{Phases: []Phase{{}}, Events: []Event{{Fault: "kill", Phase: 1}}})
	f("event 0 (kill): there is no phase -1; the plan has 1", Plan{Phases: []Phase{{}}, Events: []Event{{Fault: "kill", Phase: -1}}})
	f(`configuration file a: the content has the SHA-256 3e23e816`, Plan{Config: model.Config{Files: []model.File{{Name: "a", Content: model.Bytes("b")}}}})
}
