package run

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/lbproof/lbproof/backends"
	"github.com/lbproof/lbproof/internal/history"
)

// monitor queries Prometheus (prometheus.io/docs/prometheus/latest/querying/api).
type monitor struct {
	at          string // host:port
	origin, now time.Time
}

// ruleResults returns the result of every rule in the plan.
func (w *worker) ruleResults(ctx context.Context) (all []history.RuleResult, err error) {
	if w.request.Monitor == "" {
		return nil, nil
	}
	now := time.Now()
	m := monitor{at: w.request.Monitor, origin: now.Add(w.origin - backends.Now()), now: now}
	health, err := m.ruleErrors(ctx)
	if err != nil {
		return nil, err
	}
	for _, q := range w.request.Queries {
		one := history.RuleResult{Err: health[q.Name]}
		for _, selector := range q.Selectors {
			found, err := m.series(ctx, selector)
			if err != nil {
				return nil, err
			}
			if one.Series += len(found); len(found) > 0 {
				continue
			}
			name, _, _ := strings.Cut(selector, "{")
			similar := ""
			if found, err = m.series(ctx, name); err == nil && len(found) > 0 && name != "" {
				similar = found[0]
			}
			one.Missing = append(one.Missing, history.MissingSeries{Selector: selector, Similar: similar})
		}
		if q.Alert {
			if one.Firing, err = m.firing(ctx, q.Name); err != nil {
				return nil, err
			}
		}
		all = append(all, one)
	}
	return all, nil
}

// query decodes the data of a response.
func (m monitor) query(ctx context.Context, path string, query url.Values, data any) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+m.at+"/api/v1/"+path+"?"+query.Encode(), nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return fmt.Errorf("query Prometheus: %w", err)
	}
	defer resp.Body.Close()
	response := struct {
		Data  any    `json:"data"`
		Error string `json:"error"`
	}{Data: data}
	if err := json.NewDecoder(resp.Body).Decode(&response); err != nil {
		return fmt.Errorf("query Prometheus %s: %w", path, err)
	}
	if response.Error != "" {
		return fmt.Errorf("query Prometheus %s: %s", path, response.Error)
	}
	return nil
}

func (m monitor) timeRange() url.Values {
	return url.Values{"start": {m.origin.Format(time.RFC3339)}, "end": {m.now.Add(time.Second).Format(time.RFC3339)}}
}

// ruleErrors returns why rules could not be evaluated, by name.
func (m monitor) ruleErrors(ctx context.Context) (map[string]string, error) {
	var data struct {
		Groups []struct {
			Rules []struct{ Name, LastError string }
		}
	}
	failed := map[string]string{}
	err := m.query(ctx, "rules", nil, &data)
	for _, g := range data.Groups {
		for _, r := range g.Rules {
			failed[r.Name] = r.LastError
		}
	}
	return failed, err
}

// series returns the series that match a selector.
func (m monitor) series(ctx context.Context, selector string) (all []string, err error) {
	query := m.timeRange()
	query.Set("match[]", selector)
	var data []map[string]string
	if err := m.query(ctx, "series", query, &data); err != nil {
		return nil, err
	}
	for _, labels := range data {
		name := labels["__name__"]
		delete(labels, "__name__")
		var pairs []string
		for _, k := range slices.Sorted(maps.Keys(labels)) {
			pairs = append(pairs, k+"="+strconv.Quote(labels[k]))
		}
		all = append(all, name+"{"+strings.Join(pairs, ", ")+"}")
	}
	return all, nil
}

// firing returns when an alert was firing, from Prometheus's own ALERTS series.
func (m monitor) firing(ctx context.Context, alert string) (spans []history.Span, err error) {
	query := m.timeRange()
	query.Set("query", fmt.Sprintf(`max(ALERTS{alertname=%q, alertstate="firing"})`, alert))
	query.Set("step", "1")
	var data struct {
		Result []struct{ Values [][2]any }
	}
	if err := m.query(ctx, "query_range", query, &data); err != nil {
		return nil, err
	}
	for _, r := range data.Result {
		for _, v := range r.Values {
			at, _ := v[0].(float64)
			since := time.Duration(at*float64(time.Second)) - time.Duration(m.origin.UnixNano())
			if n := len(spans); n > 0 && since <= spans[n-1].To+time.Second {
				spans[n-1].To = since + time.Second
				continue
			}
			spans = append(spans, history.Span{From: since, To: since + time.Second})
		}
	}
	return spans, nil
}
