package check

import (
	"slices"
	"strings"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
)

// Meet makes a request one that meets all conditions; ok is false where lbproof does not know how.
func Meet(conditions []model.Condition, r *plan.Request) (ok bool) {
	for _, c := range conditions {
		if !c.Readable() {
			return false
		}
		for _, t := range c.All {
			if !apply(t, r, true) {
				return false
			}
		}
	}
	return true
}

// Miss makes a request one that does not meet all conditions; ok is false where lbproof does not know how.
func Miss(conditions []model.Condition, r *plan.Request) (ok bool) {
	return slices.ContainsFunc(conditions, func(c model.Condition) bool {
		return c.Readable() && apply(c.All[0], r, false)
	})
}

// apply makes a request one for which a term holds, or does not.
func apply(t model.Term, r *plan.Request, holds bool) (ok bool) {
	value := t.Value
	if t.Op == model.Fits {
		if value, ok = Sample(value); !ok {
			return false
		}
	}
	if holds == t.Not {
		value = "lbproof" // is not what is asked for
	}
	switch {
	case t.Variable == model.RequestHeader:
		r.Header[t.Name] = value
	case t.Variable != model.Method:
		return false
	case holds != t.Not:
		r.Method = t.Value
	case t.Value == "GET":
		r.Method = "POST"
	}
	return true
}

// OfUpgrade reports whether a condition is one of the header field Upgrade.
func OfUpgrade(c model.Condition) bool {
	return slices.ContainsFunc(c.All, func(t model.Term) bool {
		return t.Variable == model.RequestHeader && t.Name == "Upgrade"
	})
}

// wantsUpgrade reports whether a condition holds for requests for an upgrade to a protocol, and for them alone.
func wantsUpgrade(c model.Condition, protocol string) bool {
	return OfUpgrade(c) && !slices.ContainsFunc(c.All, func(t model.Term) bool {
		return t.Not || t.Op != model.Is || !strings.EqualFold(t.Value, protocol)
	})
}
