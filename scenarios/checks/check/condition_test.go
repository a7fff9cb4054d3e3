package check

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
)

func TestMeetAndMiss(t *testing.T) {
	beta := model.Term{Variable: model.RequestHeader, Name: "X-Beta", Op: model.Is, Value: "true"}
	post := model.Term{Variable: model.Method, Op: model.Is, Value: "POST"}
	get := model.Term{Variable: model.Method, Op: model.Is, Value: "GET"}
	bot := model.Term{Variable: model.RequestHeader, Name: "User-Agent", Op: model.Fits, Value: "bot"}
	not := func(t model.Term) model.Term { t.Not = !t.Not; return t }
	when := func(terms ...model.Term) []model.Condition { return []model.Condition{{All: terms, Source: "c"}} }

	f := func(set func([]model.Condition, *plan.Request) bool, conditions []model.Condition, wantMethod string, wantHeader map[string]string) {
		t.Helper()
		r := plan.Request{Method: "GET", Header: map[string]string{}}
		assert.Equal(t, wantMethod != "", set(conditions, &r))
		if wantMethod != "" {
			assert.Equal(t, wantMethod, r.Method)
			assert.Equal(t, wantHeader, r.Header)
		}
	}
	f(Meet, nil, "GET", map[string]string{})
	f(Miss, nil, "", nil)
	f(Meet, when(beta), "GET", map[string]string{"X-Beta": "true"})
	f(Miss, when(beta), "GET", map[string]string{"X-Beta": "lbproof"})
	f(Meet, when(not(beta)), "GET", map[string]string{"X-Beta": "lbproof"})
	f(Miss, when(not(beta)), "GET", map[string]string{"X-Beta": "true"})
	f(Meet, when(bot), "GET", map[string]string{"User-Agent": "bot"})
	f(Meet, when(post), "POST", map[string]string{})
	f(Miss, when(post), "GET", map[string]string{})
	f(Miss, when(get), "POST", map[string]string{})
	f(Meet, when(not(get)), "POST", map[string]string{})
	f(Meet, append(when(beta), when(post)...), "POST", map[string]string{"X-Beta": "true"})
	f(Meet, append(when(beta), when()...), "", nil)
	f(Miss, when(), "", nil)
	f(Miss, append(when(), when(beta)...), "GET", map[string]string{"X-Beta": "lbproof"})
}
