package haproxy

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lbproof/lbproof/internal/source"
)

// The words of each line as HAProxy 2.6.12 reads them; TestWordsAgreeWithHAProxy in cmd/lbproof runs HAProxy itself.
func TestWords(t *testing.T) {
	f := func(line string, want ...string) {
		t.Helper()
		got, err := splitWords(line)
		if assert.NoError(t, err, line) {
			assert.Equal(t, want, got, line)
		}
	}
	f("")
	f(" \t\v\f\r\n")
	f("# comment")
	f("\tmode  http\t# comment\r\n", "mode", "http")
	f("a\vb\fc", "a", "b", "c")
	f("a\u00a0b", "a\u00a0b")
	f("a\rb", "a")
	// Comments start anywhere outside quotes.
	f("a b#c d", "a", "b")
	f(`a b\#c "d # e" 'f # g' # h`, "a", "b#c", "d # e", "f # g")
	f(`a\\#b`, `a\`)
	// Quotes protect what is between them, in any part of a word.
	f(`a "b c" 'd e'`, "a", "b c", "d e")
	f(`a"b c"d'e f'g`, "ab cde fg")
	f(`%[str("a b"),lower]`, "%[str(a b),lower]")
	f(`"it's" 'say "x"'`, "it's", `say "x"`)
	f(`'it'\''s'`, "it's")
	// Empty words count, except at the end; a line that starts with one is empty.
	f(`a "" b ''`, "a", "", "b")
	f(`a "" '' # b`, "a")
	f(`""`)
	f(`"" a`)
	// Escapes apply outside single quotes. A backslash before any other character represents itself.
	f(`a\ b c\\d e\"f g\'h`, "a b", `c\d`, `e"f`, `g'h`)
	f(`"a\ b" "c\\d" "e\"f" "g\'h" "i\#j"`, "a b", `c\d`, `e"f`, `g'h`, "i#j")
	f(`'a\ b' 'c\\d' 'e\"f' 'g\n\x41'`, `a\ b`, `c\\d`, `e\"f`, `g\n\x41`)
	f(`a\tb\nc\rd "\t"`, "a\tb\nc\rd", "\t")
	f(`\x41\x7a "\xc3\xa9"`, "Az", "é")
	f(`/\1/\. \[a\] \é \`, `/\1/\.`, `\[a\]`, `\é`, `\`)
	f("a\\\tb", `a\`, "b")
	f("a\\\r\n", `a\`)
	// Variables are kept as written, and $ represents itself outside double quotes.
	f(`a $b ${c '$d' ^/e$ \$f`, "a", "$b", "${c", "$d", "^/e$", `\$f`)
	f(`"$A.b" "x${A}y" "${A-}" "${A-b "c' #d}" "${A[*]}" "${A[*]-b c}"`,
		"$A.b", "x${A}y", "${A-}", `${A-b "c' #d}`, "${A[*]}", "${A[*]-b c}")
	f(`"$_a1$.LINE" "${.FILE}" "\$a" "\${"`, "$_a1$.LINE", "${.FILE}", "$a", "${")
}

// HAProxy rejects these lines, except the last two, whose words are not text.
func TestWordsThatCannotBeRead(t *testing.T) {
	f := func(line, want string) {
		t.Helper()
		words, err := splitWords(line)
		if assert.Error(t, err, "%s: %q", line, words) {
			assert.Contains(t, err.Error(), want, line)
		}
	}
	f(`a "b`, "unclosed double quote")
	f(`a "b'`, "unclosed double quote")
	f(`a "b\"`, "unclosed double quote")
	f("a \"b\rc\"", "unclosed double quote")
	f(`a 'b`, "unclosed single quote")
	f(`a 'b\'c'`, "unclosed single quote")
	f(`a it's`, "unclosed single quote")
	for _, line := range []string{`a \x`, `a \x4`, `a \x4g`, `a "\x"`, `a \x+1`, `a \xé`} {
		f(line, `\x needs two hexadecimal digits`)
	}
	for _, line := range []string{
		`a "$"`, `a "$1"`, `a "$ b"`, `a "$.OTHER"`,
		`a "${}"`, `a "${A"`, `a "${A" b}`, `a "${A b}"`, `a "${A-b"`, `a "${A[1]}"`, `a "${A[*}"`, `a "${`,
	} {
		f(line, "$ within double quotes starts a variable")
	}
	f(`a "^/b$" c`, `$: $ within double quotes starts a variable; write $NAME`)
	f(`a \xe9`, `"\xe9": an escape yields a byte that is not UTF-8`)
	f(`a b\x00c`, `"b\x00c": an escape yields a byte that is not UTF-8`)
}

// Quoted words are read unchanged.
func quoteAll(words []string) string {
	var b strings.Builder
	escaped := strings.NewReplacer("'", `'\''`, "\n", `'\n'`, "\r", `'\r'`)
	for _, w := range words {
		b.WriteString(" '" + escaped.Replace(w) + "'")
	}
	return b.String()
}

// Any line is either rejected or consists of words that, quoted, yield the same words.
func FuzzHAProxyWords(f *testing.F) {
	for _, line := range []string{
		"", `bind "${ADDR-:80}" # x`, `a "b c" 'd e' f\ g\x41\n`, `'it'\''s'`, `"" ''`, `$ '' `, `"$A$.LINE${B[*]}"`,
		`"\$\"" \\# "${`, "\xff\\xc3\\xa9", `"$`, `\x`,
	} {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, line string) {
		words, err := splitWords(line)
		if err != nil {
			require.Empty(t, words)
			return
		}
		if len(words) == 0 {
			return
		}
		require.NotEmpty(t, words[0])
		require.NotEmpty(t, words[len(words)-1])
		for _, w := range words {
			require.True(t, utf8.ValidString(w) && !strings.Contains(w, "\x00"), "%q", w)
		}
		again, err := splitWords(quoteAll(words))
		require.NoError(t, err)
		require.Equal(t, words, again)
	})
}

// The time is proportional to the length: a line of 4 MiB, the size limit of files, is read quickly.
func TestLongLines(t *testing.T) {
	ahead := `"` + strings.Repeat("$A", 1<<20)
	for _, part := range []string{
		ahead, "a", "a ", " ", `"`, `""`, `'" `, `\`, `\\ `, `\x41`,
		`"$A`, `"${A`, `"${A}`, `"$`, `"${A-`, `"$A" `, `"${A}" `, `"$.LINE" `, `"#" `,
	} {
		line := strings.Repeat(part, source.MaxConfigBytes/len(part))
		began := time.Now()
		_, _ = splitWords(line)
		assert.Less(t, time.Since(began), time.Minute, "%.9q: what grows with the square takes hours", part)
	}
}

func TestTimes(t *testing.T) {
	f := func(text string, want time.Duration) {
		t.Helper()
		got, err := parseTime(text)
		if want < 0 {
			assert.Error(t, err, text)
			return
		}
		assert.NoError(t, err, text)
		assert.Equal(t, want, got, text)
	}
	f("500", 500*time.Millisecond)
	f("5s", 5*time.Second)
	f("1d", 24*time.Hour)
	f("5 s", -1)
}
