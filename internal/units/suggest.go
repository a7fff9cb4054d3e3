package units

import "fmt"

// DidYouMean returns "did you mean X?" if word is likely a misspelling of the known word X, else otherwise.
func DidYouMean(word string, known []string, otherwise string) string {
	if nearest := Nearest(word, known); nearest != "" {
		return fmt.Sprintf("did you mean %s?", nearest)
	}
	return otherwise
}
