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

// readPlan reads a plan that lbproof plan printed. What it says is checked by plan.Plan.Validate.
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
		return p, fmt.Errorf("%s: schema %q is not %s, which lbproof plan prints", name, schema.Schema, plan.PlanSchema)
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields() // a field that is not understood could be one that keeps the run from harm
	return p, jsonError(name, text, d.Decode(&p))
}

// jsonError says where in a file a mistake stands: the line, and the path of the field.
func jsonError(name string, text []byte, err error) error {
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	line := func(offset int64) int { return 1 + bytes.Count(text[:min(offset, int64(len(text)))], []byte("\n")) }
	switch {
	case err == nil:
		return nil
	case errors.As(err, &syntax):
		return fmt.Errorf("%s:%d: this is no JSON: %w", name, line(syntax.Offset), err)
	case errors.As(err, &kind):
		return fmt.Errorf("%s:%d: %s: a JSON %s cannot be a %s", name, line(kind.Offset), kind.Field, kind.Value, kind.Type)
	}
	unknown := strings.TrimPrefix(err.Error(), "json: ")
	return fmt.Errorf("%s: %s: it is no field of a plan; lbproof plan shows all", name, unknown)
}
