package reading

import "github.com/lbproof/lbproof/internal/units"

// DidYouMean returns "; did you mean WORD?" with the known word of which word may be a misspelling, or "".
func DidYouMean(word string, known []string) string {
	suggestion := units.DidYouMean(word, known, "")
	if suggestion == "" || len(word) < 2 { // a single letter is near to any other
		return ""
	}
	return "; " + suggestion
}
