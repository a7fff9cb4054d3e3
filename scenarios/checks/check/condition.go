package check

import (
	"slices"
	"strings"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
)

// Satisfy changes a request so that it meets all conditions; ok is false if lbproof does not know how.
func Satisfy(conditions []model.Condition, r *plan.Request) (ok bool) {
	for _, c := range conditions {
		if !c.IsReadable() {
			return false
		}
		for _, t := range c.Terms {
			if !applyTerm(t, r, true) {
				return false
			}
		}
	}
	return true
}

// Violate changes a request so that it fails at least one condition; ok is false if lbproof does not know how.
func Violate(conditions []model.Condition, r *plan.Request) (ok bool) {
	return slices.ContainsFunc(conditions, func(c model.Condition) bool {
		return c.IsReadable() && applyTerm(c.Terms[0], r, false)
	})
}

// applyTerm changes a request so that a term is true, or false.
func applyTerm(t model.Term, r *plan.Request, want bool) (ok bool) {
	value := t.Value
	if t.Op == model.OpMatches {
		if value, ok = Sample(value); !ok {
			return false
		}
	}
	if want == t.Negated {
		value = "lbproof" // any other value
	}
	switch {
	case t.Variable == model.RequestHeader:
		r.Header[t.Name] = value
	case t.Variable != model.Method:
		return false
	case want != t.Negated:
		r.Method = t.Value
	case t.Value == "GET":
		r.Method = "POST"
	}
	return true
}

// IsUpgradeCondition reports whether a condition tests the Upgrade header.
func IsUpgradeCondition(c model.Condition) bool {
	return slices.ContainsFunc(c.Terms, func(t model.Term) bool {
		return t.Variable == model.RequestHeader && t.Name == "Upgrade"
	})
}

// requiresUpgrade reports whether a condition holds exactly for requests that upgrade to a protocol.
func requiresUpgrade(c model.Condition, protocol string) bool {
	return IsUpgradeCondition(c) && !slices.ContainsFunc(c.Terms, func(t model.Term) bool {
		return t.Negated || t.Op != model.OpEquals || !strings.EqualFold(t.Value, protocol)
	})
}
