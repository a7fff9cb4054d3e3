package target

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/internal/source"
)

// readPlan reads the output of lbproof plan, which plan.Plan.Validate must then check.
func readPlan(name string) (plan.Plan, error) {
	var p plan.Plan
	text, err := source.ReadFile(name, plan.MaxPlanSize)
	if err != nil {
		return p, fmt.Errorf("read plan %s: %w", name, errors.Unwrap(err))
	}
	var schema struct{ Schema string }
	if err := json.Unmarshal(text, &schema); err != nil {
		return p, jsonError(name, text, err)
	}
	if schema.Schema != plan.PlanSchema {
		return p, fmt.Errorf("%s: schema %q is not supported (want %s); create the plan again with lbproof plan",
			name, schema.Schema, plan.PlanSchema)
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields() // ignoring an unknown field could make the run harmful
	return p, jsonError(name, text, d.Decode(&p))
}

// jsonError adds the line and the field of a mistake.
func jsonError(name string, text []byte, err error) error {
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	line := func(offset int64) int { return 1 + bytes.Count(text[:min(offset, int64(len(text)))], []byte("\n")) }
	switch {
	case err == nil:
		return nil
	case errors.As(err, &syntax):
		return fmt.Errorf("%s:%d: invalid JSON: %w", name, line(syntax.Offset), err)
	case errors.As(err, &kind):
		return fmt.Errorf("%s:%d: %s: got a JSON %s, want %s", name, line(kind.Offset), kind.Field, kind.Value, kind.Type)
	}
	unknown := strings.TrimPrefix(err.Error(), "json: ")
	return fmt.Errorf("%s: %s; lbproof plan prints a plan with all fields", name, unknown)
}
