package check

import (
	"regexp"
	"regexp/syntax"
	"strings"
)

// Sample returns a short text that matches a regular expression; ok is false if lbproof finds none.
func Sample(expression string) (text string, ok bool) {
	parsed, err := syntax.Parse(expression, syntax.Perl)
	if err != nil {
		return "", false
	}
	var b strings.Builder
	writeShortest(&b, parsed)
	text = b.String()
	re, err := regexp.Compile(expression)
	if err != nil {
		return "", false
	}
	if strings.HasPrefix(expression, "\\.") || text == "" {
		text = "/lbproof" + text
	}
	return text, re.MatchString(text)
}

// writeShortest appends a minimal match of an expression.
func writeShortest(b *strings.Builder, re *syntax.Regexp) {
	switch re.Op {
	case syntax.OpLiteral:
		b.WriteString(string(re.Rune))
	case syntax.OpCharClass:
		if len(re.Rune) > 0 {
			b.WriteRune(re.Rune[0])
		}
	case syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		b.WriteByte('x')
	case syntax.OpCapture, syntax.OpPlus:
		writeShortest(b, re.Sub[0])
	case syntax.OpRepeat:
		for range re.Min {
			writeShortest(b, re.Sub[0])
		}
	case syntax.OpConcat:
		for _, s := range re.Sub {
			writeShortest(b, s)
		}
	case syntax.OpAlternate:
		writeShortest(b, re.Sub[0])
	}
}
