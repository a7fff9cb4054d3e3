package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/lbproof/lbproof/internal/units"
)

// usage explains wrong arguments of a verb.
func usage(args cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, given []string) error {
		if args(cmd, given) == nil {
			return nil
		}
		_, wanted, _ := strings.Cut(cmd.Use, " ")
		for _, arg := range given {
			if len(cmd.ValidArgs) > 0 && !slices.Contains(cmd.ValidArgs, arg) {
				return fmt.Errorf("%s: unknown argument %q; %s", cmd.Name(), arg,
					units.DidYouMean(arg, cmd.ValidArgs, "write one of "+strings.Join(cmd.ValidArgs, ", ")))
			}
		}
		problem := fmt.Sprintf("%s expected, but got %s", wanted, strings.Join(quoteAll(given), " "))
		switch {
		case len(given) == 0:
			problem = wanted + " missing"
		case wanted == "":
			problem = "takes no arguments, but got " + strings.Join(quoteAll(given), " ")
		}
		return fmt.Errorf("%s: %s; %s --help shows examples", cmd.Name(), problem, cmd.CommandPath())
	}
}

func quoteAll(words []string) (quoted []string) {
	for _, word := range words {
		quoted = append(quoted, fmt.Sprintf("%q", word))
	}
	return quoted
}

// flagError explains an unknown flag, or a wrong value of one.
func flagError(cmd *cobra.Command, err error) error {
	help := cmd.CommandPath() + " --help lists the flags"
	var unknown *pflag.NotExistError
	var invalid *pflag.InvalidValueError
	var missing *pflag.ValueRequiredError
	switch {
	case errors.As(err, &unknown) && unknown.GetSpecifiedShortnames() == "":
		name := unknown.GetSpecifiedName()
		var known []string
		cmd.Flags().VisitAll(func(f *pflag.Flag) { known = append(known, "--"+f.Name) })
		return fmt.Errorf("--%s: unknown flag of %s; %s", name, cmd.CommandPath(),
			units.DidYouMean("--"+name, known, help))
	case errors.As(err, &missing):
		return fmt.Errorf("--%s: value missing; %s", missing.GetSpecifiedName(), help)
	case errors.As(err, &invalid):
		flag := invalid.GetFlag()
		return fmt.Errorf("--%s: %q is not %s", flag.Name, invalid.GetValue(), wantedValue(flag.Value.Type()))
	}
	return fmt.Errorf("%w; %s", err, help)
}

// wantedValue describes the values of a type of flags.
func wantedValue(kind string) string {
	switch kind {
	case "duration":
		return "a duration with a unit; write e.g. 30s, 10m or 8h"
	case "age":
		return "an age with a unit; write e.g. 30d or 12h"
	case "int":
		return "a whole number; write e.g. 2"
	case "bool":
		return "true or false"
	}
	return "a valid " + kind
}

// verbs maps words that users try to the verb that does it.
var verbs = map[string]string{
	"check": "claims", "validate": "claims", "verify": "test", "prove": "test", "show": "report",
}

// unknownVerb explains a word that is not a verb.
func unknownVerb(root *cobra.Command, word string) error {
	var known []string
	for _, cmd := range root.Commands() {
		if !cmd.Hidden {
			known = append(append(known, cmd.Name()), cmd.Aliases...)
		}
	}
	fix := units.DidYouMean(word, known, "lbproof --help lists the commands")
	if verb, ok := verbs[word]; ok {
		fix = fmt.Sprintf("did you mean lbproof %s?", verb)
	}
	return fmt.Errorf("%q is not a command of lbproof; %s", word, fix)
}

// explainVerb replaces cobra's error for an unknown verb, which has no type.
func explainVerb(root *cobra.Command, err error) error {
	if err == nil {
		return nil
	}
	var word string
	if _, scanned := fmt.Sscanf(err.Error(), "unknown command %q for", &word); scanned == nil {
		return unknownVerb(root, word)
	}
	return err
}
