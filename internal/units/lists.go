package units

import (
	"fmt"
	"strings"
)

// Join joins words as a sentence does.
func Join(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:len(words)-1], ", ") + " and " + words[len(words)-1]
}

// Alternatives prints statuses as "502 or 504".
func Alternatives(codes []int) string { return strings.ReplaceAll(StatusList(codes), ", ", " or ") }

func StatusList(codes []int) string {
	var out []string
	for _, c := range codes {
		out = append(out, fmt.Sprint(c))
	}
	return strings.Join(out, ", ")
}

// JoinWith is strings.Join for strings of any type.
func JoinWith[S ~string](all []S, separator string) string {
	texts := make([]string, len(all))
	for i, one := range all {
		texts[i] = string(one)
	}
	return strings.Join(texts, separator)
}
