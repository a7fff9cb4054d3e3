package check

import (
	"slices"
	"strings"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
)

// Satisfy makes a request one that meets all conditions; ok is false where lbproof does not know how.
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

// Violate makes a request one that does not meet all conditions; ok is false where lbproof does not know how.
func Violate(conditions []model.Condition, r *plan.Request) (ok bool) {
	return slices.ContainsFunc(conditions, func(c model.Condition) bool {
		return c.IsReadable() && applyTerm(c.Terms[0], r, false)
	})
}

// applyTerm makes a request one for which a term holds, or does not.
func applyTerm(t model.Term, r *plan.Request, holds bool) (ok bool) {
	value := t.Value
	if t.Op == model.OpMatches {
		if value, ok = Sample(value); !ok {
			return false
		}
	}
	if holds == t.Negated {
		value = "lbproof" // is not what is asked for
	}
	switch {
	case t.Variable == model.RequestHeader:
		r.Header[t.Name] = value
	case t.Variable != model.Method:
		return false
	case holds != t.Negated:
		r.Method = t.Value
	case t.Value == "GET":
		r.Method = "POST"
	}
	return true
}

// IsUpgradeCondition reports whether a condition is one of the header field Upgrade.
func IsUpgradeCondition(c model.Condition) bool {
	return slices.ContainsFunc(c.Terms, func(t model.Term) bool {
		return t.Variable == model.RequestHeader && t.Name == "Upgrade"
	})
}

// requiresUpgrade reports whether a condition holds for requests for an upgrade to a protocol, and for them alone.
func requiresUpgrade(c model.Condition, protocol string) bool {
	return IsUpgradeCondition(c) && !slices.ContainsFunc(c.Terms, func(t model.Term) bool {
		return t.Negated || t.Op != model.OpEquals || !strings.EqualFold(t.Value, protocol)
	})
}
