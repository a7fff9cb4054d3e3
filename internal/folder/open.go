package folder

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/plan"
)

// Open reads a run folder. Every file is compared with the manifest first. Loops over the history read tables from
// disk; a read error ends them and remains in the history's Err. ErrNoRun: the folder is not a run folder.
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
			return history.History{}, fmt.Errorf("%s: does not list %s; %s", r.path(manifestFile), name, restoreOrRerun)
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

// useRecordingVersion is the remedy for a file of another version.
const useRecordingVersion = "judge the run with the lbproof that recorded it"

// plan returns the run's plan, which contains the configuration.
func (r *verifiedFolder) plan() (plan.Plan, error) {
	var p plan.Plan
	text, err := r.read(PlanFile)
	if err != nil {
		return p, err
	}
	var form struct{ Schema string }
	if json.Unmarshal(text, &form) == nil && form.Schema != plan.PlanSchema {
		return p, fmt.Errorf("%s: schema %q, but this lbproof reads %s; %s",
			r.path(PlanFile), form.Schema, plan.PlanSchema, useRecordingVersion)
	}
	if err := firstError(decode(text, &p), p.CheckRunnable()); err != nil {
		return p, fmt.Errorf("%s: %w; %s", r.path(PlanFile), err, useRecordingVersion)
	}
	return p, nil
}

// environment returns the run's environment.
func (r *verifiedFolder) environment(p plan.Plan) (history.Environment, error) {
	var env history.Environment
	text, err := r.read(environmentFile)
	if err != nil {
		return env, err
	}
	problem := decode(text, &env)
	if problem == nil && len(env.Phases) > len(p.Phases) {
		problem = fmt.Errorf("%d phases, but the plan has %d", len(env.Phases), len(p.Phases))
	}
	for _, mark := range env.Faults {
		if phase := mark.Event.Phase; problem == nil && (phase < 0 || phase >= len(p.Phases)) {
			problem = fmt.Errorf("fault in phase %d, but the plan has %d phases", phase, len(p.Phases))
		}
	}
	if problem != nil {
		return env, fmt.Errorf("%s: %w; %s", r.path(environmentFile), problem, useRecordingVersion)
	}
	return env, nil
}

// checkJournal validates the journal of a plan with that many events.
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
			err = errors.New("incomplete line")
		case err == nil && e.Action != Injected && e.Action != Healed:
			err = fmt.Errorf("%q is neither %s nor %s", e.Action, Injected, Healed)
		case err == nil && (e.Event < 0 || e.Event >= events):
			err = fmt.Errorf("event %d, but the plan has %d", e.Event, events)
		}
		if err != nil {
			return fmt.Errorf("%s:%d: %w; %s", r.path(journalFile), number, err, restoreOrRerun)
		}
	}
	return nil
}

// history returns the history, whose loops read the tables.
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

// checkTables checks the columns and the first row of every table.
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
