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
	Doc: "The client's ledger and the backends' agree: each request reached the backend that answered it, " +
		"exactly once.",
	Law:      "a request that arrived twice, elsewhere or unasked refutes the claim; its number is told",
	Evidence: check.Evidence{Joined: true},
	Claims:   onceClaims,
	Probes:   check.Probe,
	Trials:   check.InnerTrials,
	Judge:    judgeOnce,
}

func onceClaims(cfg model.Config) []plan.Claim {
	return check.EachRoute(check.ProxiedRoutes(cfg), func(r model.Route) []plan.Claim {
		text := fmt.Sprintf("A request to %s reaches one backend of %s, exactly once, and that one answers it.",
			r.Key(), r.Pool)
		claim := check.NewClaim(plan.CheckOnce, r.Key(), "", r.PoolPos, text)
		claim.Assumes = []string{
			"a request that may be repeated (GET, HEAD, PUT, DELETE, OPTIONS, TRACE) may be sent again after a failed attempt",
		}
		return []plan.Claim{claim}
	})
}

func judgeOnce(claim plan.Claim, h history.History) check.Finding {
	f := check.Finding{
		Need: check.NeedAll(h), Broken: check.LostWitness(h),
		Test:      "join of the client's and the backends' ledgers, by request id",
		Predicted: "each once",
	}
	r, ok := check.RouteOf(h.Plan.Config, claim)
	switch {
	case ok && outage.IsDeserted(h.Plan.Config, r.Pool):
		return check.Finding{Cannot: outage.NobodyUp}
	case ok && len(r.Access) > 0:
		f.Need = check.Often
	}
	var wrong check.Examples
	book := ledger{names: []string{""}}
	for hit := range h.Hits {
		book.answered(hit)
	}
	find := check.PlainJourneys(h)
	repeats := countArrivals(claim, h, find, &book, &wrong)
	f.N = countAnswers(claim, h, find, &book, &wrong)
	if f.Broken == "" {
		f.Counter = wrong.List()
	}
	if repeats > 0 && f.Broken == "" {
		f.Broken = units.Plural(repeats, "arrival") +
			" of repeatable requests came again or elsewhere, which is allowed after a failed attempt and otherwise not"
	}
	f.Measured = fmt.Sprintf("%s of %s not exactly once", units.Number(wrong.Total), units.Number(f.N))
	f.Power = check.PowerAll(f.N, h)
	return f
}

// countAnswers counts the requests that reached a backend or should have, and notes those that did not.
func countAnswers(
	claim plan.Claim, h history.History, find func(uint64) *check.Journey, book *ledger, wrong *check.Examples,
) (n int) {
	for hit := range h.Hits {
		j := find(hit.Seq)
		if j == nil || j.Key != claim.Subject {
			continue
		}
		times := book.times(hit.Seq)
		if refusedBySelf(j.Route, hit) {
			n++
			wrong.Add("request %d (%s %s) was answered %d by the balancer itself",
				hit.Seq, j.Request.Method, j.Request.Path, hit.Code)
			continue
		}
		if hit.Server == "" && times == 0 {
			continue // it reached nobody, which is for other checks to judge
		}
		n++
		if hit.Server != "" && times == 0 {
			wrong.Add("request %d (%s %s) was answered by %s, which has no record of it",
				hit.Seq, j.Request.Method, j.Request.Path, hit.Server)
		}
	}
	return n
}

// countArrivals enters every arrival into the book, notes those that contradict the client, and counts repetitions that
// may be allowed.
func countArrivals(
	claim plan.Claim, h history.History, find func(uint64) *check.Journey, book *ledger, wrong *check.Examples,
) (repeats int) {
	for a := range h.Arrivals {
		j := find(a.Seq)
		if j == nil || j.Key != claim.Subject {
			continue
		}
		r := j.Request
		if slices.Contains(check.RepeatableMethods, r.Method) && book.answeredElsewhere(a) && broken(h, a) {
			continue // the attempt that failed
		}
		times, by, known := book.arrived(a.Seq)
		elsewhere := known && by != a.Server
		switch {
		case (times > 1 || elsewhere) && slices.Contains(check.RepeatableMethods, r.Method):
			repeats++ // perhaps the attempt that failed before the one that was answered
		case times > 1:
			wrong.Add("request %d (%s %s) arrived again, at %s", a.Seq, r.Method, r.Path, a.Server)
		case elsewhere:
			wrong.Add("request %d (%s %s) was answered by %s but arrived at %s", a.Seq, r.Method, r.Path, by, a.Server)
		}
	}
	return repeats
}

// broken says whether a fault was in force on the server that a request arrived at, or only just over.
func broken(h history.History, a history.Arrival) bool {
	return slices.ContainsFunc(h.Env.Marks, func(m history.Mark) bool {
		return m.Event.Target == a.Server && a.At >= m.Ordered && a.At <= m.To+outage.Settling
	})
}

// ledger joins hits and arrivals by number in one byte a request: who answered, and how often it arrived.
type ledger struct {
	names []string // who answers; 0 is nobody
	pages map[uint64]*[pageSize]uint8
}

const (
	pageSize   = 1 << 12
	countBits  = 0b11
	serverBits = 2
	maxNames   = 1<<(8-serverBits) - 1
)

func (l *ledger) cell(seq uint64) *uint8 {
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

func (l *ledger) answered(hit history.Hit) {
	i := slices.Index(l.names, hit.Server)
	if i < 0 && len(l.names) < maxNames {
		i = len(l.names)
		l.names = append(l.names, hit.Server)
	}
	*l.cell(hit.Seq) = uint8(max(0, i)) << serverBits
}

// answeredElsewhere says whether another server than the one that it arrived at is known to have answered.
func (l *ledger) answeredElsewhere(a history.Arrival) bool {
	i := int(*l.cell(a.Seq) >> serverBits)
	return i > 0 && l.names[i] != a.Server
}

// arrived counts one arrival; times stops at 3. known is false where more backends answered than the ledger can name.
func (l *ledger) arrived(seq uint64) (times int, by string, known bool) {
	c := l.cell(seq)
	if *c&countBits < countBits {
		*c++
	}
	i := int(*c >> serverBits)
	return int(*c & countBits), l.names[i], i > 0
}

func (l *ledger) times(seq uint64) int { return int(*l.cell(seq) & countBits) }

// refusedBySelf says whether the balancer answered a request that belongs to a backend, without a failure and though
// nothing that the configuration says lets it: there is no route.
func refusedBySelf(r model.Route, hit history.Hit) bool {
	bySelf := hit.Server == "" && hit.Err == ""
	failure := hit.Code < 200 || hit.Code >= 500
	tooLarge := hit.Code == 413
	if !bySelf || failure || tooLarge || check.MaybeLimited(r, hit) || check.IsProgrammed(r) {
		return false
	}
	return len(r.Rules)+len(r.Access)+len(r.Fallbacks) == 0 && r.Auth == nil
}
