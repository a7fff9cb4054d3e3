package traffic

import (
	"fmt"
	"slices"

	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/internal/units"
	"github.com/lbproof/lbproof/scenarios/checks/check"
	"github.com/lbproof/lbproof/scenarios/checks/outage"
)

var Once = check.Check{
	Name: plan.CheckOnce,
	Doc: "Each request reaches the backend that answers it exactly once, by the records of the client and " +
		"the backends.",
	Law:           "one request that arrives twice, elsewhere or unsent refutes; its number is reported",
	Evidence:      check.Evidence{MatchedArrivals: true},
	Claims:        onceClaims,
	ExtraRequests: check.ForgedRequests,
	Requirements:  check.LocalRequirements,
	Judge:         judgeOnce,
}

func onceClaims(cfg model.Config) []plan.Claim {
	return check.EachRoute(check.ProxiedRoutes(cfg), func(r model.Route) []plan.Claim {
		text := fmt.Sprintf("Each request to %s is delivered exactly once, to a backend of %s, which answers it.",
			r.Key(), r.Pool)
		claim := check.NewClaim(plan.CheckOnce, r.Key(), "", r.PoolPos, text)
		claim.Assumptions = []string{
			"idempotent requests (GET, HEAD, PUT, DELETE, OPTIONS, TRACE) may be retried after a failed attempt",
		}
		return []plan.Claim{claim}
	})
}

func judgeOnce(claim plan.Claim, h history.History) check.Finding {
	f := check.Finding{
		Need: check.RequestsNeeded(h), Inconclusive: check.WhyLedgerIncomplete(h),
		Test:      "records of the client and the backends joined by request ID",
		Predicted: "exactly once each",
	}
	r, ok := check.RouteOf(h.Plan.Config, claim)
	switch {
	case ok && outage.IsAllDown(h.Plan.Config, r.Pool):
		return check.Finding{Untestable: outage.NoServerUp}
	case ok && len(r.Access) > 0:
		f.Need = check.Repetitions
	}
	var wrong check.Examples
	index := deliveryIndex{names: []string{""}}
	for hit := range h.Hits {
		index.recordHit(hit)
	}
	find := check.TrafficRouteFinder(h)
	repeats := countArrivals(claim, h, find, &index, &wrong)
	f.N = countAnswers(claim, h, find, &index, &wrong)
	if f.Inconclusive == "" {
		f.CounterExamples = wrong.List()
	}
	if repeats > 0 && f.Inconclusive == "" {
		f.Inconclusive = units.Plural(repeats, "arrival") +
			" of idempotent requests repeated or elsewhere, which is allowed only after a failed attempt"
	}
	f.Measured = fmt.Sprintf("%s of %s not exactly once", units.Number(wrong.Total), units.Number(f.N))
	f.Power = check.RequestPower(f.N, h)
	return f
}

// countAnswers counts the requests that reached a backend or should have, and collects those that did not.
func countAnswers(
	claim plan.Claim, h history.History, find func(uint64) *check.RequestRoute, index *deliveryIndex,
	wrong *check.Examples,
) (n int) {
	for hit := range h.Hits {
		j := find(hit.Seq)
		if j == nil || j.Key != claim.Subject {
			continue
		}
		times := index.arrivals(hit.Seq)
		if isRefusedByBalancer(j.Route, hit) {
			n++
			wrong.Add("request %d (%s %s) was answered %d by the balancer itself",
				hit.Seq, j.Request.Method, j.Request.Path, hit.Code)
			continue
		}
		if hit.Server == "" && times == 0 {
			continue // it reached no backend; other checks judge that
		}
		n++
		if hit.Server != "" && times == 0 {
			wrong.Add("request %d (%s %s) was answered by %s, which has no record of it",
				hit.Seq, j.Request.Method, j.Request.Path, hit.Server)
		}
	}
	return n
}

// countArrivals adds every arrival to the index, collects those that contradict the client, and counts repetitions
// that may be allowed.
func countArrivals(
	claim plan.Claim, h history.History, find func(uint64) *check.RequestRoute, index *deliveryIndex,
	wrong *check.Examples,
) (repeats int) {
	for a := range h.Arrivals {
		j := find(a.Seq)
		if j == nil || j.Key != claim.Subject {
			continue
		}
		r := j.Request
		if slices.Contains(check.IdempotentMethods, r.Method) && index.isAnsweredElsewhere(a) && arrivedDuringFault(h, a) {
			continue // the attempt that failed
		}
		times, by, known := index.recordArrival(a.Seq)
		elsewhere := known && by != a.Server
		switch {
		case (times > 1 || elsewhere) && slices.Contains(check.IdempotentMethods, r.Method):
			repeats++ // perhaps the attempt that failed before the one that was answered
		case times > 1:
			wrong.Add("request %d (%s %s) arrived again at %s", a.Seq, r.Method, r.Path, a.Server)
		case elsewhere:
			wrong.Add("request %d (%s %s) was answered by %s but arrived at %s", a.Seq, r.Method, r.Path, by, a.Server)
		}
	}
	return repeats
}

// arrivedDuringFault reports whether a fault was in force, or only just over, on the server at which a request
// arrived.
func arrivedDuringFault(h history.History, a history.Arrival) bool {
	return slices.ContainsFunc(h.Env.Faults, func(m history.FaultWindow) bool {
		return m.Event.Target == a.Server && a.At >= m.RequestedAt && a.At <= m.EndsBy+outage.SettleTime
	})
}

// deliveryIndex joins hits and arrivals by number in one byte per request: who answered, and how often it arrived.
type deliveryIndex struct {
	names []string // servers that answered; 0 is none
	pages map[uint64]*[pageSize]uint8
}

const (
	pageSize   = 1 << 12
	countBits  = 0b11
	serverBits = 2
	maxNames   = 1<<(8-serverBits) - 1
)

func (l *deliveryIndex) cell(seq uint64) *uint8 {
	if l.pages == nil {
		l.pages = map[uint64]*[pageSize]uint8{}
	}
	page, ok := l.pages[seq/pageSize]
	if !ok {
		page = new([pageSize]uint8)
		l.pages[seq/pageSize] = page
	}
	return &page[seq%pageSize]
}

func (l *deliveryIndex) recordHit(hit history.Hit) {
	i := slices.Index(l.names, hit.Server)
	if i < 0 && len(l.names) < maxNames {
		i = len(l.names)
		l.names = append(l.names, hit.Server)
	}
	*l.cell(hit.Seq) = uint8(max(0, i)) << serverBits
}

// isAnsweredElsewhere reports whether a server other than the one that received an arrival answered the request.
func (l *deliveryIndex) isAnsweredElsewhere(a history.Arrival) bool {
	i := int(*l.cell(a.Seq) >> serverBits)
	return i > 0 && l.names[i] != a.Server
}

// recordArrival counts one arrival, up to 3. known is false if more backends answered than the index can name.
func (l *deliveryIndex) recordArrival(seq uint64) (times int, by string, known bool) {
	c := l.cell(seq)
	if *c&countBits < countBits {
		*c++
	}
	i := int(*c >> serverBits)
	return int(*c & countBits), l.names[i], i > 0
}

func (l *deliveryIndex) arrivals(seq uint64) int { return int(*l.cell(seq) & countBits) }

// isRefusedByBalancer reports whether the balancer itself answered a request for a backend, without a failure and
// without a rule that allows it: it found no route.
func isRefusedByBalancer(r model.Route, hit history.Hit) bool {
	bySelf := hit.Server == "" && hit.Err == ""
	failure := hit.Code < 200 || hit.Code >= 500
	tooLarge := hit.Code == 413
	if !bySelf || failure || tooLarge || check.MaybeLimited(r, hit) || check.IsOpaque(r) {
		return false
	}
	return len(r.Rules)+len(r.Access)+len(r.ErrorPages) == 0 && r.Auth == nil
}
