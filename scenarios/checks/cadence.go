package checks

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/lbproof/lbproof/internal/lb"
)

// HAProxy opens a connection for each health check. While nobody asks anything, those are all that there are, and how often they come
// is what inter says.

// cadence is how many checks a server got in times of silence, and how many it must and may have got.
type cadence struct {
	seen, least, most int
}

// known says whether the checks were seen often enough.
func (c cadence) known() bool { return c.least >= Often }

func (c cadence) wrong() bool { return c.seen < c.least || c.seen > c.most }

// cadenceOf counts the connections to a server's port in times of silence.
func cadenceOf(h lb.History, pool lb.Pool, server lb.Server) (c cadence) {
	a := server.Active
	jitter := slices.ContainsFunc(h.Plan.Config.Unread, func(u lb.Unread) bool { return strings.HasPrefix(u.Text, "spread-checks") })
	again := func(r lb.Route) bool {
		return serves(h.Plan.Config, r.Pool, server.Host) && r.Retry != nil && repeats(r.Retry.On)
	}
	if h.Plan.Config.Balancer != "haproxy" || a == nil || jitter || slices.ContainsFunc(h.Plan.Config.Routes, again) {
		return c // or requests that waited too long may be tried again
	}
	rate, streams := 0., 0 // checks per second, of all pools that have the server, by each balancer
	for _, p := range h.Plan.Config.Pools {
		for _, s := range p.Servers {
			if s.Host == server.Host && s.Port == server.Port && s.Active != nil {
				streams += balancers(h.Plan)
				rate += float64(balancers(h.Plan)) / s.Active.Interval.Seconds()
			}
		}
	}
	silent := silences(h, server)
	counts := make([]int, len(silent))
	for at := range h.Attempts {
		if at.Node != server.Host || at.Port != server.Port || at.From == h.Env.Client {
			continue
		}
		for i, w := range silent {
			if at.At >= w.from && at.At <= w.to {
				counts[i]++
			}
		}
	}
	for i, w := range silent {
		times := (w.to - w.from).Seconds() * rate
		c.seen += counts[i]
		c.least += max(0, int(math.Floor(times*0.95))-streams+1)
		c.most += int(math.Ceil(times*1.05)) + streams
	}
	return c
}

// balancers is how many a plan has with the configuration, one at least.
func balancers(plan lb.Plan) int {
	peers := 0
	for _, spec := range plan.Specs {
		if spec.Role == lb.Peer {
			peers++
		}
	}
	return 1 + peers
}

// silences are the times in which clients wait for one another and nobody asks anything, once a server that was dead before is known
// to be well.
func silences(h lb.History, server lb.Server) (out []window) {
	_, up := server.Active.Up()
	for i, p := range h.Env.Phases {
		if i == 0 || i >= len(h.Plan.Loads) || h.Plan.Loads[i].Name != Waited {
			continue
		}
		from := p.LastSent + time.Second
		for _, m := range h.Env.Marks {
			if m.Event.Target == server.Host && m.To < p.Start {
				from = max(from, m.To+up+server.Active.Interval)
			}
		}
		if h.Plan.Loads[i-1].Name != Deaths { // whose end is when its servers are well
			from = max(from, p.LastSent+up+server.Active.Interval)
		}
		if w := (window{from, p.End - slack}); w.to-w.from > 2*server.Active.Interval {
			out = append(out, w)
		}
	}
	return out
}

func (c cadence) String() string {
	return fmt.Sprintf("%s in times of silence, %s to %s expected", plural(c.seen, "check"), number(c.least), number(c.most))
}
