package reading

import "github.com/lbproof/lbproof/internal/units"

// DidYouMean returns "; did you mean WORD?" with the known word of which word may be a misspelling, or "".
func DidYouMean(word string, known []string) string {
	if nearest := Nearest(word, known); nearest != "" {
		return "; did you mean " + nearest + "?"
	}
	return ""
}

// Nearest returns the known word of which word may be a misspelling, or "".
func Nearest(word string, known []string) string {
	if len(word) < 2 { // a single letter is near to any other
		return ""
	}
	return units.Nearest(word, known)
}
