package run

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/lbproof/lbproof/internal/lb"
)

// Open reads a run folder that is as the run left it: every file is compared with the manifest before anything of it is believed.
// Its tables are read from disk by each loop over them; what goes wrong then stands in the history's Err, for ever. ErrNoRun is a
// folder that no run has left.
func Open(dir string) (lb.History, error) {
	m, err := readManifest(dir)
	if err != nil {
		return lb.History{}, err
	}
	r, err := verify(dir, m)
	if err != nil {
		return lb.History{}, err
	}
	plan, err := r.plan()
	if err != nil {
		return lb.History{}, err
	}
	for _, name := range filesOf(plan) {
		if _, bound := r.files[name]; !bound {
			return lb.History{}, fmt.Errorf("%s: it does not name %s; %s", r.path(manifestFile), name, copyOrRepeat)
		}
	}
	env, err := r.environment(plan)
	if err != nil {
		return lb.History{}, err
	}
	if len(plan.Events) > 0 {
		if err := r.checkJournal(len(plan.Events)); err != nil {
			return lb.History{}, err
		}
	}
	h := r.history(plan, env)
	return h, r.checkTables(h)
}

// plan is the run's plan, which holds the configuration.
func (r *recorded) plan() (lb.Plan, error) {
	var plan lb.Plan
	text, err := r.read(planFile)
	if err != nil {
		return plan, err
	}
	var form struct{ Schema string }
	if json.Unmarshal(text, &form) == nil && form.Schema != lb.PlanSchema {
		return plan, fmt.Errorf("%s: schema %q; this lbproof reads %s: judge the run with the lbproof that recorded it", r.path(planFile), form.Schema, lb.PlanSchema)
	}
	if err := first(decode(text, &plan), plan.Check()); err != nil {
		return plan, fmt.Errorf("%s: %w; judge the run with the lbproof that recorded it", r.path(planFile), err)
	}
	return plan, nil
}

// environment is how the run of a plan fared.
func (r *recorded) environment(plan lb.Plan) (lb.Environment, error) {
	var env lb.Environment
	text, err := r.read(environmentFile)
	if err != nil {
		return env, err
	}
	problem := decode(text, &env)
	if problem == nil && len(env.Phases) > len(plan.Loads) {
		problem = fmt.Errorf("it tells of %d phases, and the plan has %d", len(env.Phases), len(plan.Loads))
	}
	for _, mark := range env.Marks {
		if phase := mark.Event.Phase; problem == nil && (phase < 0 || phase >= len(plan.Loads)) {
			problem = fmt.Errorf("it tells of a fault in phase %d, and the plan has %d", phase, len(plan.Loads))
		}
	}
	if problem != nil {
		return env, fmt.Errorf("%s: %w; judge the run with the lbproof that recorded it", r.path(environmentFile), problem)
	}
	return env, nil
}

// checkJournal reads the journal of so many events.
func (r *recorded) checkJournal(events int) error {
	text, err := r.read(journalFile)
	if err != nil {
		return err
	}
	number := 0
	for line := range bytes.Lines(text) {
		number++
		var e entry
		err := decode(line, &e)
		switch {
		case err == nil && !bytes.HasSuffix(line, []byte("\n")):
			err = errors.New("it does not end")
		case err == nil && e.Did != ordered && e.Did != healed:
			err = fmt.Errorf("%q is neither %s nor %s", e.Did, ordered, healed)
		case err == nil && (e.Event < 0 || e.Event >= events):
			err = fmt.Errorf("event %d, and the plan has %d", e.Event, events)
		}
		if err != nil {
			return fmt.Errorf("%s:%d: %w; %s", r.path(journalFile), number, err, copyOrRepeat)
		}
	}
	return nil
}

// history reads the tables in each loop.
func (r *recorded) history(plan lb.Plan, env lb.Environment) lb.History {
	arrivals := rows(r, arrivalsFile, arrivalRow.arrival)
	h := lb.History{
		Plan: plan, Env: env, Err: func() error { return r.err },
		Hits: rows(r, hitsFile, sentBy(plan).hit),
		Arrivals: func(yield func(lb.Arrival) bool) {
			for a := range arrivals {
				if _, check := a.Check(); !check && !yield(a) {
					return
				}
			}
		},
		Checks: func(yield func(lb.Check) bool) {
			for a := range arrivals {
				if c, check := a.Check(); check && !yield(c) {
					return
				}
			}
		},
		Samples:  rows(r, samplesFile, sampleRow.sample),
		Attempts: func(func(lb.Attempt) bool) {},
	}
	if len(plan.Events) > 0 {
		h.Attempts = rows(r, attemptsFile, attemptRow.attempt)
	}
	return h
}

// checkTables looks at the columns of every table, and at its first row.
func (r *recorded) checkTables(h lb.History) error {
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
