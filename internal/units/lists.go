package units

import (
	"fmt"
	"strings"
)

// Join joins words as a sentence does: a, b and c.
func Join(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:len(words)-1], ", ") + " and " + words[len(words)-1]
}

// Alternatives joins status codes: 502 or 504.
func Alternatives(codes []int) string { return strings.ReplaceAll(StatusList(codes), ", ", " or ") }

// StatusList joins status codes: 502, 504.
func StatusList(codes []int) string {
	var out []string
	for _, c := range codes {
		out = append(out, fmt.Sprint(c))
	}
	return strings.Join(out, ", ")
}

// JoinWith is strings.Join for any string type.
func JoinWith[S ~string](all []S, separator string) string {
	texts := make([]string, len(all))
	for i, one := range all {
		texts[i] = string(one)
	}
	return strings.Join(texts, separator)
}
