package lb

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestPlanCheck(t *testing.T) {
	f := func(want string, p Plan) {
		t.Helper()
		if err := p.Check(); want != "" {
			assert.ErrorContains(t, err, want)
		} else {
			assert.NoError(t, err)
		}
	}
	f("", Plan{})
	f("", Plan{
		Loads: []Load{{Count: 1, Requests: []Request{{}}}, {}}, Events: []Event{{Phase: 1}},
		Config: Config{Files: []File{NewFile("a", []byte("b"))}},
	})
	f("phase 1 (x): it has no requests to send", Plan{Loads: []Load{{}, {Name: "x", Count: 1}}})
	f("phase 0 (x): count is -1", Plan{Loads: []Load{{Name: "x", Count: -1}}})
	f("event 0 (kill): it is in phase 1, and there are 1", Plan{Loads: []Load{{}}, Events: []Event{{Fault: "kill", Phase: 1}}})
	f("event 0 (kill): it is in phase -1, and there are 1", Plan{Loads: []Load{{}}, Events: []Event{{Fault: "kill", Phase: -1}}})
	f(`configuration file a: its content has the SHA-256 3e23e816`, Plan{Config: Config{Files: []File{{Name: "a", Content: Bytes("b")}}}})
}
