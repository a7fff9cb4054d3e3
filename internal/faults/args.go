package faults

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/docker/go-units"

	"github.com/lbproof/lbproof/internal/plan"
)

// Arg is a setting of a fault.
type Arg struct {
	Name    plan.Setting
	Kind    Kind
	Default string
	Doc     string
}

// Describe returns the setting's documentation with its default.
func (one Arg) Describe() string {
	if one.Default == "" {
		return one.Doc
	}
	return fmt.Sprintf("%s (default: %s)", one.Doc, one.Default)
}

// Kind is the syntax of a setting.
type Kind string

// The kinds of settings.
const (
	Time   Kind = "time"   // 50ms
	Share  Kind = "share"  // 10%
	Count  Kind = "count"  // 4
	Size   Kind = "size"   // 64KiB
	Cores  Kind = "cores"  // 0.1
	Choice Kind = "choice" // one of the words before the colon in Doc
	Text   Kind = "text"
)

// Args are the settings of an event.
type Args plan.Settings

// validate returns what is wrong with the settings, or nil.
func (a Args) validate(f Fault) error {
	for name, value := range a {
		i := slices.IndexFunc(f.Args, func(one Arg) bool { return one.Name == name })
		if i < 0 {
			return fmt.Errorf("%s: unknown setting %q; settings: %s", f.Name, name, argNames(f.Args))
		}
		if err := f.Args[i].validate(value); err != nil {
			return fmt.Errorf("%s: %s: %w", f.Name, name, err)
		}
	}
	for _, one := range f.Args {
		if one.Default == "" && a[one.Name] == "" && one.Kind != Text {
			return fmt.Errorf("%s: setting %s is required: %s", f.Name, one.Name, one.Doc)
		}
	}
	return nil
}

func argNames(args []Arg) string {
	if len(args) == 0 {
		return "none"
	}
	var names []string
	for _, one := range args {
		names = append(names, string(one.Name))
	}
	return strings.Join(names, ", ")
}

func (one Arg) validate(value string) (err error) {
	switch one.Kind {
	case Time:
		if _, err = time.ParseDuration(value); err != nil {
			err = fmt.Errorf("%q is not a duration; write e.g. 50ms", value)
		}
	case Share:
		var share float64
		if share, err = parseShare(value); err == nil && (share <= 0 || share > 1) {
			err = fmt.Errorf("%q is not a share above 0%% and up to 100%%", value)
		}
	case Count:
		if n, invalid := strconv.Atoi(value); invalid != nil || n < 1 {
			err = fmt.Errorf("%q is not a count of at least 1", value)
		}
	case Size:
		if _, err = units.RAMInBytes(value); err != nil {
			err = fmt.Errorf("%q is not a size; write e.g. 64KiB", value)
		}
	case Cores:
		if _, err = strconv.ParseFloat(value, 64); err != nil {
			err = fmt.Errorf("%q is not a number of cores; write e.g. 0.1", value)
		}
	case Choice:
		words, _, _ := strings.Cut(one.Doc, ":")
		if !slices.Contains(strings.Split(words, ", "), value) {
			err = fmt.Errorf("%q is not one of %s", value, words)
		}
	}
	return err
}

func parseShare(text string) (float64, error) {
	percent, ok := strings.CutSuffix(text, "%")
	n, err := strconv.ParseFloat(percent, 64)
	if !ok || err != nil {
		return 0, fmt.Errorf("%q is not a share; write e.g. 10%%", text)
	}
	return n / 100, nil
}

// WithDefaults returns all settings of the fault, with defaults for the missing ones.
func (a Args) WithDefaults(f Fault) Args {
	out := Args{}
	for _, one := range f.Args {
		if out[one.Name] = one.Default; a[one.Name] != "" {
			out[one.Name] = a[one.Name]
		}
	}
	return out
}

// Typed values of the settings, which were validated with the plan.

func (a Args) time(name plan.Setting) time.Duration {
	d, _ := time.ParseDuration(a[name])
	return d
}

func (a Args) share(name plan.Setting) float64 {
	n, _ := parseShare(a[name])
	return n
}

func (a Args) count(name plan.Setting) int {
	n, _ := strconv.Atoi(a[name])
	return n
}

func (a Args) size(name plan.Setting) int64 {
	n, _ := units.RAMInBytes(a[name])
	return n
}

func (a Args) cores(name plan.Setting) float64 {
	n, _ := strconv.ParseFloat(a[name], 64)
	return n
}
