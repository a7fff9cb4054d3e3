package checks

import (
	"fmt"
	"slices"
	"time"

	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
)

var backup = Check{
	Name:     "backup",
	Doc:      "A backup server gets requests only while no other server of its pool takes any.",
	Law:      "zero of its arrivals while another server is in rotation, and some while none is",
	Evidence: Evidence{Undisturbed: true},
	Claims: func(cfg model.Config) []plan.Claim {
		return pools(cfg, func(p model.Pool) []plan.Claim {
			var claims []plan.Claim
			for _, s := range p.Servers {
				if !s.Backup {
					continue
				}
				claims = append(claims, plan.Claim{
					ID: id("backup", p.Name, nameOf(s)), Check: "backup", Subject: p.Name, Pos: s.Pos, Params: map[string]float64{"share": 0},
					Text: fmt.Sprintf("%s gets no request of %s while %s or any other primary server is up, and all of them when none is.", nameOf(s), p.Name, and(names(rotation(p)))),
				})
			}
			return claims
		})
	},
	Trials: backupTrials,
	Judge:  judgeBackup,
}

// backupTrials have all primary servers die at once.
func backupTrials(cfg model.Config, claim plan.Claim, _ Terms) []Trial {
	return allDie(cfg, claim.Subject, "who serves while no primary server is up")
}

// allDie has all primary servers of a pool die at once.
func allDie(cfg model.Config, name, shows string) []Trial {
	pool, _ := cfg.Pool(name)
	r, ok := toPool(cfg, name)
	if !ok {
		return nil
	}
	t := Trial{Kind: Backups, Shows: shows, Load: plan.Phase{Rate: deathRate / 2, Concurrency: 512, Count: 1, Requests: []plan.Request{r}}}
	for _, s := range rotation(pool) {
		t.Gone = append(t.Gone, s.Host)
	}
	return []Trial{t}
}

func judgeBackup(claim plan.Claim, h history.History) Finding {
	pool, _ := h.Plan.Config.Pool(claim.Subject)
	i := slices.IndexFunc(pool.Servers, func(s model.Server) bool { return id("backup", pool.Name, nameOf(s)) == claim.ID })
	if i < 0 {
		return Finding{Cannot: "the configuration has no such server"}
	}
	name, gone, known := pool.Servers[i].Host, allGone(h, pool), allKnownGone(h, pool)
	f := Finding{
		Need: needAll(h), Broken: lostWitness(h), Test: "count of the pool's requests that reached it while a primary server was up",
		Predicted: "0, and some when none is up",
	}
	var wrong examples
	find, served := journeys(h), 0
	for a := range h.Arrivals {
		j := find(a.Seq)
		if j == nil || j.route.Pool != pool.Name {
			continue
		}
		within := slices.ContainsFunc(gone, func(t window) bool { return t.from <= a.At && a.At <= t.to })
		switch {
		case within && a.Server == name:
			served++
		case within: // the balancer does not know yet, or not any more
		case full(pool, h.Plan.Phases[j.load]): // the primary servers may have taken no more
		default:
			if f.N++; a.Server == name {
				wrong.add("request %d reached %s at %.2f s, while a primary server was up", a.Seq, name, a.At.Seconds())
			}
		}
	}
	f.Measured = fmt.Sprintf("%s of %s while a primary was up, %s while none was", number(wrong.total), number(f.N), number(served))
	f.Power = powerAll(f.N, h)
	switch {
	case f.Broken != "":
	case wrong.total > 0:
		f.Counter = wrong.list()
	case served == 0 && len(known) == 0:
		f.Broken = "there was no time at which all primary servers were known to be out of action; --scenario backup makes one"
	case served == 0:
		f.Counter = []string{fmt.Sprintf("%s got no request from %.2f s to %.2f s, while no primary server was up", name, known[0].from.Seconds(), known[0].to.Seconds())}
	}
	return f
}

// allKnownGone are the times at which every server of a pool's rotation was out of action and the balancer must have known, with
// requests that were sent to the pool.
func allKnownGone(h history.History, pool model.Pool) (sent []window) {
	common := []window{{0, over(h)}}
	for _, s := range rotation(pool) {
		var next []window
		for _, e := range everyEpisode(h, pool, append(slices.Clone(refusing), hanging...)...) {
			from := e.mark.From + settling
			if a := e.server.Active; a != nil {
				_, refused, hangs := a.Down()
				from = e.mark.From + max(settling, refused, hangs)
			}
			for _, w := range common {
				if both := (window{max(w.from, from), min(w.to, e.mark.Ended)}); e.server.Host == s.Host && both.from < both.to {
					next = append(next, both)
				}
			}
		}
		common = next
	}
	find := journeys(h)
	for hit := range h.Hits {
		j := find(hit.Seq)
		i := slices.IndexFunc(common, func(w window) bool { return w.from <= hit.Sent && hit.Done <= w.to })
		if i >= 0 && j != nil && j.route.Pool == pool.Name && hit.Err != history.Tester && !slices.Contains(sent, common[i]) {
			sent = append(sent, common[i])
		}
	}
	return sent
}

// window is a time from when to when.
type window struct{ from, to time.Duration }

// full says whether a load may have more in flight than a primary server takes at a time, so that it takes no more.
func full(pool model.Pool, l plan.Phase) bool {
	return slices.ContainsFunc(rotation(pool), func(s model.Server) bool {
		return s.Conns != nil && s.Conns.Value > 0 && int64(l.Concurrency) >= s.Conns.Value
	})
}

// allGone are the times at which every server of a pool's rotation was out of action, and as long after as the balancer may
// take to find out that one is back.
func allGone(h history.History, pool model.Pool) []window {
	common := []window{{0, over(h)}}
	for _, s := range rotation(pool) {
		var next []window
		for _, e := range everyEpisode(h, pool, append(slices.Clone(refusing), hanging...)...) {
			if e.server.Host != s.Host {
				continue
			}
			until := e.next
			if e.back > 0 {
				until = e.back
			}
			for _, w := range common {
				if both := (window{max(w.from, e.mark.Ordered), min(w.to, until)}); both.from < both.to {
					next = append(next, both)
				}
			}
		}
		common = next
	}
	return common
}

// severalGone is when two servers of a pool were dead at once: what is sent elsewhere may meet the other.
func severalGone(h history.History, pool model.Pool) []window {
	var out []window
	all := episodes(h, pool, append(slices.Clone(refusing), hanging...)...)
	for i, a := range all {
		for _, b := range all[i+1:] {
			both := window{max(a.mark.Ordered, b.mark.Ordered), min(a.mark.To, b.mark.To) + settling}
			if a.server.Host != b.server.Host && both.from < both.to {
				out = append(out, both)
			}
		}
	}
	return out
}
