package plain_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lbproof/lbproof/internal/plain"
)

func TestText(t *testing.T) {
	f := func(want, value string) {
		t.Helper()
		assert.Equal(t, want, plain.Text(value))
	}
	for _, same := range []string{
		"", "nginx.conf:3: weights/web", `~ \.php$`, "≤ 3 × ½ · 日本 e\u0301 🐳",
		"a\u00a0b\u3000c", "::1 and ::ffff:10.0.0.1", "# a ## b #[c", "\ufffd",
	} {
		f(same, same)
	}
	f(`a\nb\tc\rd`, "a\nb\tc\rd")
	f(`\x1b[31m`, "\x1b[31m")
	f(`\x1b]52;c;aGk=\a`, "\x1b]52;c;aGk=\x07")
	f(`\x00\b\x7f`, "\x00\b\x7f")
	f(`\u009b31m\u0085`, "\u009b31m\u0085")
	f(`\u202ea\u2066b\u2069\u200e\u200f\u061c`, "\u202ea\u2066b\u2069\u200e\u200f\u061c")
	f(`\u2028\u2029`, "\u2028\u2029")
	f(`\u200b\u2060\ufeff\u00ad\U000e0041`, "\u200b\u2060\ufeff\u00ad\U000e0041")
	f(`\xffa\xc0\xe2\x82`, "\xffa\xc0\xe2\x82")
	f(`\x23#[error]a #\x23#vso[b] \x23#teamcity[c]`, "##[error]a ###vso[b] ##teamcity[c]")
}

func TestLines(t *testing.T) {
	assert.Equal(t, "refused:\n| [emerg] \\x1b[1m\n| \n| ::error::", plain.Lines("refused:\n[emerg] \x1b[1m\n\n::error::"))
}

type nested struct {
	Text    string
	Named   named
	Bytes   []byte
	Pointer *nested
	Slice   []nested
	Map     map[string][]string
	Any     any
	Array   [1]string
	Number  int
	hidden  string
}

type named string

func TestValueEscapesEveryString(t *testing.T) {
	in := nested{
		Text: "\n", Named: "\n", Bytes: []byte("\n"), Pointer: &nested{Text: "\n"}, Slice: []nested{{Text: "\n"}},
		Map: map[string][]string{"\n": {"\n"}},
		Any: []string{"\n"}, Array: [1]string{"\n"}, Number: 1, hidden: "\n",
	}
	want := nested{
		Text: `\n`, Named: `\n`, Bytes: []byte("\n"), Pointer: &nested{Text: `\n`}, Slice: []nested{{Text: `\n`}},
		Map: map[string][]string{`\n`: {`\n`}},
		Any: []string{`\n`}, Array: [1]string{`\n`}, Number: 1, hidden: "\n",
	}
	assert.Equal(t, want, plain.Value(in))
	assert.Equal(t, "\n", in.Pointer.Text+in.Slice[0].Text[1:], "the argument is unchanged")
	assert.Equal(t, nested{}, plain.Value(nested{}))
	assert.NoError(t, plain.Value[error](nil))
}

// shown returns the output of a Writer for text written in pieces of that many bytes.
func shown(t testing.TB, text string, piece int) string {
	var b strings.Builder
	w := plain.NewWriter(&b)
	for len(text) > 0 {
		n := min(piece, len(text))
		wrote, err := w.Write([]byte(text[:n]))
		require.NoError(t, err)
		require.Equal(t, n, wrote)
		text = text[n:]
	}
	require.NoError(t, w.Close())
	return b.String()
}

func TestWriter(t *testing.T) {
	f := func(want, text string) {
		t.Helper()
		for piece := 1; piece <= max(1, len(text)); piece++ {
			assert.Equal(t, want, shown(t, text, piece), "in pieces of %d bytes", piece)
		}
	}
	f(" REFUTED  ≤ 3\n\tnginx.conf:3\n", " REFUTED  ≤ 3\n\tnginx.conf:3\n")
	f("\\x1b[31m\\u009b\\u202e\\r\\xff\n\\xe2\\x82", "\x1b[31m\u009b\u202e\r\xff\n\xe2\x82")
	f("\\x3a:error::a\n \t\\x3a:set-output name=a::b\na ::error::c\n",
		"::error::a\n \t::set-output name=a::b\na ::error::c\n")
	f("\u3000\\x3a:error::a", "\u3000::error::a")
	f("::1\n::/0\n:\n::", "::1\n::/0\n:\n::")
	f("a \\x23#[error]b\n#\\x23#vso[c]\n##\n## d\n#", "a ##[error]b\n###vso[c]\n##\n## d\n#")
}

func FuzzWriter(f *testing.F) {
	f.Add("::error::a\n##[b]\x1b\xff\u202e", 1)
	f.Fuzz(func(t *testing.T, text string, piece int) {
		once := shown(t, text, max(1, piece))
		assert.Equal(t, once, shown(t, text, len(text)+1))
		assert.Equal(t, once, shown(t, once, 7), "escaped text is unchanged")
		assert.Equal(t, plain.Text(text), plain.Text(plain.Text(text)))
		assert.True(t, utf8.ValidString(once))
		for line := range strings.SplitSeq(once, "\n") {
			for _, r := range line {
				assert.True(t, r == '\t' || strconv.IsGraphic(r), "%q", line)
			}
			assert.NotRegexp(t, `^\s*::[a-z]|##(vso)?\[`, line)
		}
	})
}

func TestJSONKeepsItsValues(t *testing.T) {
	value := map[string]string{"\u009b": "\x7f\u202e::error::\U000e0041 ##[error] \u2028 日本 🐳 \ufffd"}
	var b bytes.Buffer
	w := plain.NewJSONWriter(&b)
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	require.NoError(t, e.Encode(value))
	require.NoError(t, w.Close())
	assert.Equal(t,
		"{\n  \"\\u009b\": \"\\u007f\\u202e::error::\\udb40\\udc41 \\u0023#[error] "+
			"\\u2028 日本 🐳 \ufffd\"\n}\n", b.String())
	var again map[string]string
	require.NoError(t, json.Unmarshal(b.Bytes(), &again))
	assert.Equal(t, value, again)
	assert.Equal(t, b.String(), shown(t, b.String(), 3), "a Writer leaves it unchanged")
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("disk full") }

func TestWriteErrorsAreReturned(t *testing.T) {
	_, err := plain.NewWriter(full{}).Write([]byte("a"))
	assert.EqualError(t, err, "disk full")
}
