package reports_test

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"math/rand/v2"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/tsenart/vegeta/v12/lib"

	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plain"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/internal/report"
	"github.com/lbproof/lbproof/reports"
)

// hostile has commands for terminals and CI systems, and delimiters of the report formats.
const hostile = "::error::FORGED a\x1b[31mb\x1b]52;c;aGk=\x07c\rFORGED\nFORGED\r\n::set-output name=x::FORGED ::warning::FORGED\n##[error]FORGED ##vso[task.complete]d\x00\x08\x7f" +
	"\u0085FORGED\u009b31mf\u202eg\u2066h\u200ei\u061cj\u2028FORGED\u2029FORGED\u200bm\ufeffn]]></failure></testcase><testcase name=\"FORGED\"/>, \"\\"

// invalidUTF8 is hostile followed by invalid UTF-8.
const invalidUTF8 = hostile + "\xff\xc0\xe2\x82"

// filler sets every string of a value, at any depth, to text, and the rest so that all parts of a report are written.
type filler struct {
	text     string
	random   *rand.Rand
	outcomes int
}

func filled[T any](text string) T {
	var value T
	f := filler{text: text, random: rand.New(rand.NewPCG(1, 2))}
	f.fill(reflect.ValueOf(&value).Elem(), 0)
	return value
}

// knownValues are the values besides a hostile one of types that formats distinguish.
var knownValues = map[reflect.Type][]string{
	reflect.TypeFor[plan.Engine]():  {string(plan.Vegeta), string(plan.WebSocket)},
	reflect.TypeFor[plan.Role]():    {string(plan.Balancer)},
	reflect.TypeFor[model.Effect](): {string(model.Rejected), string(model.Inert)},
}

func (f *filler) fill(v reflect.Value, depth int) {
	switch v.Type() {
	case reflect.TypeFor[time.Time]():
		v.Set(reflect.ValueOf(time.Date(2026, 11, 21, 10, 15, 0, 0, time.UTC)))
		return
	case reflect.TypeFor[report.Outcome]():
		f.outcomes++
		v.SetInt(int64(f.outcomes % 4))
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(f.text)
		if some := knownValues[v.Type()]; len(some) > 0 && f.random.IntN(2) == 0 {
			v.SetString(some[f.random.IntN(len(some))])
		}
	case reflect.Bool:
		v.SetBool(f.random.IntN(2) == 0)
	case reflect.Int, reflect.Int64:
		v.SetInt(100 + f.random.Int64N(100))
	case reflect.Uint32, reflect.Uint64:
		v.SetUint(100)
	case reflect.Float64:
		v.SetFloat(0.5)
	case reflect.Struct:
		for i := range v.NumField() {
			f.fill(v.Field(i), depth)
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		f.fill(v.Elem(), depth)
	case reflect.Slice:
		n := 2
		switch {
		case v.Type().Elem().Kind() == reflect.Uint8:
			v.SetBytes([]byte(f.text))
			return
		case depth == 0:
			n = 24
		}
		v.Set(reflect.MakeSlice(v.Type(), n, n))
		for i := range n {
			f.fill(v.Index(i), depth+1)
		}
	case reflect.Array:
		for i := range v.Len() {
			f.fill(v.Index(i), depth+1)
		}
	case reflect.Map:
		key, element := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		f.fill(key, depth+1)
		f.fill(element, depth+1)
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(key, element)
	case reflect.Func: // of a History
	default:
		panic("a filler knows no " + v.Type().String())
	}
}

// hostileHistory returns a short history in which every string is text.
func hostileHistory(text string) history.History {
	h := filled[history.History](text)
	hit := filled[history.Hit](text)
	hit.Phase, hit.Code, hit.Due = 1, 200, 0
	h.Hits = func(yield func(history.Hit) bool) { yield(hit) }
	h.Err = func() error { return nil }
	return h
}

// writers returns all outputs of the package with values that lbproof did not write.
func writers(text string) map[string]func(io.Writer) error {
	all := map[string]func(io.Writer) error{
		"reading": func(w io.Writer) error { return reports.WriteReading(w, filled[report.Reading](text), true) },
		"reading, folded": func(w io.Writer) error {
			return reports.WriteReading(w, filled[report.Reading](text), false)
		},
		"reading, json": func(w io.Writer) error {
			return reports.WriteJSON(w, filled[report.Reading](text))
		},
		"plan":      func(w io.Writer) error { return reports.WriteJSON(w, filled[plan.Plan](text)) },
		"design":    func(w io.Writer) error { return reports.WriteDesign(w, filled[plan.Plan](text), true) },
		"mutations": func(w io.Writer) error { return reports.WriteMutations(w, hostileMutations(text)) },
		"answer": func(w io.Writer) error {
			var problems []error
			r := filled[report.Reading](text)
			for _, a := range []model.BalancerAnswer{{}, {Accepted: true}, {Accepted: true, Started: true}} {
				a.Version, a.Messages = r.Checker.Version, r.Checker.Messages
				r.Checker = &a
				problems = append(problems, reports.WriteReading(w, r, true))
			}
			r.Checker.Messages = nil
			problems = append(problems, reports.WriteReading(w, r, true))
			r.Checker = nil
			return errors.Join(append(problems, reports.WriteReading(w, r, true))...)
		},
	}
	all["terminal, verbose"] = func(w io.Writer) error { return reports.WriteTerminal(w, variedReport(text), true) }
	for _, format := range reports.All {
		all[format.Name] = func(w io.Writer) error {
			if format.Export != nil {
				return format.Export(w, hostileHistory(text))
			}
			return format.Write(w, variedReport(text))
		}
	}
	return all
}

// variedReport returns a report with some fields left empty.
func variedReport(text string) report.Report {
	r := filled[report.Report](text)
	for i := range r.Verdicts {
		switch i / 4 % 3 { // of each outcome
		case 0:
			r.Verdicts[i].Power = ""
		case 1:
			r.Verdicts[i].Power, r.Verdicts[i].Reason, r.Verdicts[i].Measured = "", "", ""
		}
	}
	for i := range r.Phases {
		r.Env.Phases[i].End = time.Hour
		if i%2 == 0 {
			r.Env.Faults[i].Err, r.Phases[i].BreakingRate, r.Phases[i].Offered = "", 0, 0
		}
	}
	return r
}

func hostileMutations(text string) []report.Mutation {
	all := filled[[]report.Mutation](text)
	outcomes := []string{
		report.MutationKilled, report.MutationRefused, report.MutationSurvived, report.MutationOriginalRefuted,
		report.MutationUntestable, text,
	}
	for i := range all {
		all[i].Outcome = outcomes[i%len(outcomes)]
		if i%2 == 0 {
			all[i].New = ""
		}
	}
	return all
}

// No printed value contains a command for terminals or CI systems, or looks like one of lbproof's own lines.
func TestValuesContainNoCommands(t *testing.T) {
	for name, write := range writers(invalidUTF8) {
		t.Run(name, func(t *testing.T) {
			var b, through bytes.Buffer
			require.NoError(t, write(&b))
			require.Contains(t, b.String(), "FORGED", "otherwise nothing is tested")
			for line := range strings.SplitSeq(b.String(), "\n") {
				require.True(t, utf8.ValidString(line), "%q", line)
				for _, r := range line {
					require.True(t, strconv.IsGraphic(r), "%q in %q", r, line)
				}
				require.NotRegexp(t, `^\s*FORGED|##\[|##vso\[`, line)
			}
			w := plain.NewWriter(&through) // as in all of lbproof's output
			require.NoError(t, write(w))
			require.NoError(t, w.Close())
			assert.NotRegexp(t, `(?m)^\s*::[a-z]`, through.String())
			if name != "answer" { // it may begin with the balancer's version
				commands := regexp.MustCompile(`(?m)^(\s*)\\x3a:`) // a wrapped line may begin with what looks like one
				assert.Equal(t, b.String(), commands.ReplaceAllString(through.String(), "$1::"))
			}
		})
	}
}

// JSON keeps all values, whatever they contain.
func TestJSONKeepsHostileValues(t *testing.T) {
	var b bytes.Buffer
	format, err := reports.Find("json")
	require.NoError(t, err)
	require.NoError(t, format.Write(&b, filled[report.Report](hostile)))
	var r report.Report
	require.NoError(t, json.Unmarshal(b.Bytes(), &r))
	assert.Equal(t, filled[report.Report](hostile), r)

	b.Reset()
	require.NoError(t, reports.WriteJSON(&b, filled[plan.Plan](hostile)))
	var p plan.Plan
	require.NoError(t, json.Unmarshal(b.Bytes(), &p))
	assert.Equal(t, filled[plan.Plan](hostile), p)

	b.Reset()
	require.NoError(t, reports.WriteJSON(&b, filled[report.Reading](hostile)))
	var reading report.Reading
	require.NoError(t, json.Unmarshal(b.Bytes(), &reading))
	assert.Equal(t, filled[report.Reading](hostile), reading)
}

// Libraries read the other formats with the right number of parts and the right values.
func TestHostileFormatsAreReadable(t *testing.T) {
	r := filled[report.Report](invalidUTF8)
	var b bytes.Buffer
	format, err := reports.Find("junit")
	require.NoError(t, err)
	require.NoError(t, format.Write(&b, r))
	var suite struct {
		Name  string `xml:"name,attr"`
		Cases []struct {
			Name string `xml:"name,attr"`
		} `xml:"testcase"`
	}
	require.NoError(t, xml.Unmarshal(b.Bytes(), &suite))
	assert.Len(t, suite.Cases, len(r.Verdicts)+len(r.Problems))
	assert.Equal(t, plain.Text(invalidUTF8), suite.Cases[0].Name)

	b.Reset()
	format, err = reports.Find("vegeta")
	require.NoError(t, err)
	require.NoError(t, format.Export(&b, hostileHistory(hostile)))
	var result vegeta.Result
	require.NoError(t, vegeta.NewJSONDecoder(&b)(&result))
	assert.Equal(t, []string{hostile, hostile, hostile, hostile}, []string{result.Attack, result.Error, result.Method, result.URL})

	b.Reset()
	format, err = reports.Find("hdr")
	require.NoError(t, err)
	require.NoError(t, format.Export(&b, hostileHistory(invalidUTF8)))
	log := hdrhistogram.NewHistogramLogReader(&b)
	h, err := log.NextIntervalHistogram()
	require.NoError(t, err)
	require.NotNil(t, h)
	assert.Equal(t, int64(1), h.TotalCount())
	assert.Contains(t, h.Tag(), `\x1b[31m`)
	h, err = log.NextIntervalHistogram()
	require.NoError(t, err)
	assert.Nil(t, h)
}
