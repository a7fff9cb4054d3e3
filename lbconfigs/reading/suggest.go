package reading

import (
	"fmt"

	"github.com/lbproof/lbproof/internal/units"
)

// DidYouMean returns "; did you mean WORD?" with the known word of which word may be a misspelling, or "".
func DidYouMean(word string, known []string) string {
	nearest := units.Nearest(word, known)
	if nearest == "" || len(word) < 2 { // a single letter is near to any other
		return ""
	}
	return fmt.Sprintf("; did you mean %s?", nearest)
}
