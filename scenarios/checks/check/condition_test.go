package check

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
)

func TestSatisfyAndViolate(t *testing.T) {
	beta := model.Term{Variable: model.RequestHeader, Name: "X-Beta", Op: model.OpEquals, Value: "true"}
	post := model.Term{Variable: model.Method, Op: model.OpEquals, Value: "POST"}
	get := model.Term{Variable: model.Method, Op: model.OpEquals, Value: "GET"}
	bot := model.Term{Variable: model.RequestHeader, Name: "User-Agent", Op: model.OpMatches, Value: "bot"}
	not := func(t model.Term) model.Term { t.Negated = !t.Negated; return t }
	when := func(terms ...model.Term) []model.Condition { return []model.Condition{{Terms: terms, Source: "c"}} }

	f := func(set func([]model.Condition, *plan.Request) bool, conditions []model.Condition, wantMethod string, wantHeader map[string]string) {
		t.Helper()
		r := plan.Request{Method: "GET", Header: map[string]string{}}
		assert.Equal(t, wantMethod != "", set(conditions, &r))
		if wantMethod != "" {
			assert.Equal(t, wantMethod, r.Method)
			assert.Equal(t, wantHeader, r.Header)
		}
	}
	f(Satisfy, nil, "GET", map[string]string{})
	f(Violate, nil, "", nil)
	f(Satisfy, when(beta), "GET", map[string]string{"X-Beta": "true"})
	f(Violate, when(beta), "GET", map[string]string{"X-Beta": "lbproof"})
	f(Satisfy, when(not(beta)), "GET", map[string]string{"X-Beta": "lbproof"})
	f(Violate, when(not(beta)), "GET", map[string]string{"X-Beta": "true"})
	f(Satisfy, when(bot), "GET", map[string]string{"User-Agent": "bot"})
	f(Satisfy, when(post), "POST", map[string]string{})
	f(Violate, when(post), "GET", map[string]string{})
	f(Violate, when(get), "POST", map[string]string{})
	f(Satisfy, when(not(get)), "POST", map[string]string{})
	f(Satisfy, append(when(beta), when(post)...), "POST", map[string]string{"X-Beta": "true"})
	f(Satisfy, append(when(beta), when()...), "", nil)
	f(Violate, when(), "", nil)
	f(Violate, append(when(), when(beta)...), "GET", map[string]string{"X-Beta": "lbproof"})
}
