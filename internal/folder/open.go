package folder

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/plan"
)

// Open reads a run folder that is as the run left it: every file is compared with the manifest before anything of it is believed.
// Its tables are read from disk by each loop over them; what goes wrong then stands in the history's Err, for ever. ErrNoRun is a
// folder that no run has left.
func Open(dir string) (history.History, error) {
	m, err := readManifest(dir)
	if err != nil {
		return history.History{}, err
	}
	r, err := verify(dir, m)
	if err != nil {
		return history.History{}, err
	}
	plan, err := r.plan()
	if err != nil {
		return history.History{}, err
	}
	for _, name := range expectedFiles(plan) {
		if _, named := r.files[name]; !named {
			return history.History{}, fmt.Errorf("%s: it does not name %s; %s", r.path(manifestFile), name, restoreOrRerun)
		}
	}
	env, err := r.environment(plan)
	if err != nil {
		return history.History{}, err
	}
	if len(plan.Events) > 0 {
		if err := r.checkJournal(len(plan.Events)); err != nil {
			return history.History{}, err
		}
	}
	h := r.history(plan, env)
	return h, r.checkTables(h)
}

// plan is the run's plan, which holds the configuration.
func (r *verifiedFolder) plan() (plan.Plan, error) {
	var p plan.Plan
	text, err := r.read(PlanFile)
	if err != nil {
		return p, err
	}
	var form struct{ Schema string }
	if json.Unmarshal(text, &form) == nil && form.Schema != plan.PlanSchema {
		return p, fmt.Errorf("%s: schema %q; this lbproof reads %s: judge the run with the lbproof that recorded it",
			r.path(PlanFile), form.Schema, plan.PlanSchema)
	}
	if err := firstError(decode(text, &p), p.CheckRunnable()); err != nil {
		return p, fmt.Errorf("%s: %w; judge the run with the lbproof that recorded it", r.path(PlanFile), err)
	}
	return p, nil
}

// environment is how the run of a plan fared.
func (r *verifiedFolder) environment(p plan.Plan) (history.Environment, error) {
	var env history.Environment
	text, err := r.read(environmentFile)
	if err != nil {
		return env, err
	}
	problem := decode(text, &env)
	if problem == nil && len(env.Phases) > len(p.Phases) {
		problem = fmt.Errorf("it tells of %d phases, and the plan has %d", len(env.Phases), len(p.Phases))
	}
	for _, mark := range env.Faults {
		if phase := mark.Event.Phase; problem == nil && (phase < 0 || phase >= len(p.Phases)) {
			problem = fmt.Errorf("it tells of a fault in phase %d, and the plan has %d", phase, len(p.Phases))
		}
	}
	if problem != nil {
		return env, fmt.Errorf("%s: %w; judge the run with the lbproof that recorded it", r.path(environmentFile), problem)
	}
	return env, nil
}

// checkJournal reads the journal of so many events.
func (r *verifiedFolder) checkJournal(events int) error {
	text, err := r.read(journalFile)
	if err != nil {
		return err
	}
	number := 0
	for line := range bytes.Lines(text) {
		number++
		var e Entry
		err := decode(line, &e)
		switch {
		case err == nil && !bytes.HasSuffix(line, []byte("\n")):
			err = errors.New("it does not end")
		case err == nil && e.Action != Injected && e.Action != Healed:
			err = fmt.Errorf("%q is neither %s nor %s", e.Action, Injected, Healed)
		case err == nil && (e.Event < 0 || e.Event >= events):
			err = fmt.Errorf("event %d, and the plan has %d", e.Event, events)
		}
		if err != nil {
			return fmt.Errorf("%s:%d: %w; %s", r.path(journalFile), number, err, restoreOrRerun)
		}
	}
	return nil
}

// history reads the tables in each loop.
func (r *verifiedFolder) history(p plan.Plan, env history.Environment) history.History {
	arrivals := rows(r, arrivalsFile, arrivalRow.arrival)
	h := history.History{
		Plan: p, Env: env, Err: func() error { return r.err },
		Hits: rows(r, hitsFile, newPhaseBounds(p).check),
		Arrivals: func(yield func(history.Arrival) bool) {
			for a := range arrivals {
				if _, check := a.HealthCheck(); !check && !yield(a) {
					return
				}
			}
		},
		HealthChecks: func(yield func(history.HealthCheck) bool) {
			for a := range arrivals {
				if c, check := a.HealthCheck(); check && !yield(c) {
					return
				}
			}
		},
		Samples:  rows(r, samplesFile, sampleRow.sample),
		Attempts: func(func(history.Attempt) bool) {},
	}
	if len(p.Events) > 0 {
		h.Attempts = rows(r, attemptsFile, attemptRow.attempt)
	}
	return h
}

// checkTables looks at the columns of every table, and at its first row.
func (r *verifiedFolder) checkTables(h history.History) error {
	for range h.Hits {
		break
	}
	for range h.Arrivals {
		break
	}
	for range h.Samples {
		break
	}
	for range h.Attempts {
		break
	}
	return r.err
}
