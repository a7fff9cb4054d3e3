package scenarios

import (
	"fmt"
	"slices"
	"strings"

	"github.com/VictoriaMetrics/metricsql"
	"go.yaml.in/yaml/v3"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
)

const (
	rulesPath      = "/etc/prometheus/rules.yml"
	prometheusPort = 9090
	exporterPort   = 9113
)

// Prometheus scrapes the balancer and the backends and evaluates the rules of a scenario.
var Prometheus = plan.Spec{
	Name: plan.HarnessName("prometheus"), Role: plan.Monitor, Ports: []int{prometheusPort},
	Command: []string{
		"prometheus", "--config.file=/etc/prometheus/prometheus.yml", "--storage.tsdb.path=/tmp/prometheus",
	},
	ConfigTest: []string{"promtool", "check", "rules", rulesPath},
	Image: plan.Image{
		Ref:      "prom/prometheus:v2.42.0",
		Packages: []string{"prometheus"}, Dirs: []string{"/tmp", "/etc/prometheus"},
	},
}

// Exporters convert status pages of balancers to Prometheus metrics. They share the balancer's network, and
// model.Counter names them.
var Exporters = []plan.Spec{
	{
		Name: plan.HarnessName("nginx-exporter"), Role: plan.Monitor, Ports: []int{exporterPort},
		Command: []string{"prometheus-nginx-exporter", "-nginx.ssl-verify=false", "-nginx.scrape-uri"},
		Image: plan.Image{
			Ref:      "nginx/nginx-prometheus-exporter:0.11",
			Packages: []string{"prometheus-nginx-exporter"}, Dirs: []string{"/tmp"},
		},
	},
}

// ruleFile is a rule file of Prometheus (prometheus.io/docs/prometheus/latest/configuration/recording_rules).
type ruleFile struct {
	Groups []struct {
		Rules []struct {
			Alert  yaml.Node `yaml:"alert"`
			Record yaml.Node `yaml:"record"`
			Expr   yaml.Node `yaml:"expr"`
		} `yaml:"rules"`
	} `yaml:"groups"`
}

// readRules reads a rule file of Prometheus.
func readRules(name string, text []byte) (all []plan.Query, err error) {
	var file ruleFile
	if err := yaml.Unmarshal(text, &file); err != nil {
		return nil, yamlError(name, err)
	}
	for _, g := range file.Groups {
		for _, r := range g.Rules {
			q := plan.Query{
				Name: r.Record.Value, Expr: strings.TrimSpace(r.Expr.Value),
				Pos: model.Pos{File: name, Line: r.Record.Line},
			}
			if r.Alert.Value != "" {
				q.Name, q.Alert, q.Pos.Line = r.Alert.Value, true, r.Alert.Line
			}
			if q.Name == "" {
				return nil, fmt.Errorf("%s:%d: rule without a name; add alert: NAME or record: NAME", name, r.Expr.Line)
			}
			if q.Selectors, err = selectors(q.Expr); err != nil {
				return nil, fmt.Errorf("%s:%d: %s: %w", name, max(r.Expr.Line, q.Pos.Line), q.Name, err)
			}
			all = append(all, q)
		}
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%s: no rules; write groups: [{name: …, rules: [{alert: …, expr: …}]}]", name)
	}
	return all, nil
}

// selectors returns the series selectors of an expression, each once.
func selectors(expr string) (all []string, err error) {
	parsed, err := metricsql.Parse(expr)
	if err != nil {
		return nil, err
	}
	metricsql.VisitAll(parsed, func(e metricsql.Expr) {
		if m, ok := e.(*metricsql.MetricExpr); ok {
			if text := string(m.AppendString(nil)); !slices.Contains(all, text) {
				all = append(all, text)
			}
		}
	})
	return all, nil
}

// addMonitor adds Prometheus with its exporters to a plan, and a claim for each rule.
func (s Scenario) addMonitor(p *plan.Plan) (err error) {
	if s.Rules == "" {
		return nil
	}
	if p.Queries, err = readRules(s.Rules, s.RulesText); err != nil {
		return err
	}
	for _, q := range p.Queries {
		what := "The query"
		if q.Alert {
			what = "The alert"
		}
		p.Claims = append(p.Claims, plan.Claim{
			ID: string(plan.CheckQueries) + "/" + q.Name, Check: plan.CheckQueries, Subject: q.Name, Pos: q.Pos,
			Text: fmt.Sprintf("%s %s references only series that exist: %s.", what, q.Name, strings.Join(q.Selectors, ", ")),
		})
	}
	jobs, exporters := scrapeConfig(*p)
	p.Specs = append(p.Specs, exporters...)
	watching := Prometheus
	watching.GeneratedFiles = map[string]string{"/etc/prometheus/prometheus.yml": jobs, rulesPath: string(s.RulesText)}
	p.Specs = append(p.Specs, watching)
	return nil
}

// scrapeConfig returns Prometheus's configuration for a plan, and the exporters that it needs.
func scrapeConfig(p plan.Plan) (config string, exporters []plan.Spec) {
	var b strings.Builder
	fmt.Fprintf(&b, "global: {scrape_interval: 1s, evaluation_interval: 1s}\nrule_files: [%s]\nscrape_configs:\n",
		rulesPath)
	job := func(name, scheme, path string, at ...string) {
		fmt.Fprintf(&b, "  - {job_name: %s, scheme: %s, metrics_path: %s, "+
			"tls_config: {insecure_skip_verify: true}, static_configs: [{targets: [%s]}]}\n",
			name, scheme, path, strings.Join(at, ", "))
	}
	job("backends", "http", "/metrics", scrapedBackends(p)...)
	balancer := p.Specs[slices.IndexFunc(p.Specs, func(spec plan.Spec) bool { return spec.Role == plan.Balancer })]
	job("prometheus", "http", "/metrics", fmt.Sprintf("'localhost:%d'", prometheusPort))
	for _, r := range p.Config.Routes {
		if r.LocalContent == nil || r.LocalContent.Counter == nil || len(r.Conditions) > 0 {
			continue
		}
		counter := *r.LocalContent.Counter
		reads := func(spec plan.Spec) bool {
			return counter.Exporter != "" && spec.Name == plan.HarnessName(counter.Exporter)
		}
		with := slices.IndexFunc(Exporters, reads)
		scheme := map[bool]string{true: "https", false: "http"}[r.TLS]
		switch {
		case counter.Form == model.CounterMetrics:
			job(p.Config.Balancer, scheme, r.Path, fmt.Sprintf("'%s:%d'", balancer.Host(), r.Port))
			return b.String(), nil
		case with >= 0:
			job(p.Config.Balancer, "http", "/metrics", fmt.Sprintf("'%s:%d'", balancer.Host(), exporterPort))
			exporter := Exporters[with]
			exporter.NetworkOf = balancer.Name
			exporter.Command = append(slices.Clone(exporter.Command), fmt.Sprintf("%s://127.0.0.1:%d%s", scheme, r.Port, r.Path))
			return b.String(), []plan.Spec{exporter}
		}
	}
	return b.String(), nil
}

// scrapedBackends returns the addresses, quoted for YAML, of the backends whose first port speaks plain HTTP.
func scrapedBackends(p plan.Plan) []string {
	var all []string
	for _, spec := range p.Specs {
		if spec.Role != plan.Backend || spec.Helper || len(spec.Ports) == 0 {
			continue
		}
		if !slices.Contains(spec.TLSPorts, spec.Ports[0]) {
			all = append(all, fmt.Sprintf("'%s:%d'", spec.Host(), spec.Ports[0]))
		}
	}
	return all
}
