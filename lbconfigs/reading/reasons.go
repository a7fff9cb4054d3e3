package reading

import "strings"

// Why a directive promises nothing that traffic could show.
const (
	WhyLog    = "says what is written down, not what is answered"
	WhySpeed  = "changes speed and memory, not what is answered"
	WhyFiles  = "where the balancer keeps its files"
	WhyForm   = "read together with the lines that use it"
	WhyLimits = "a limit of the machine: the balancer's own start tells whether it holds"
	WhyUnread = "lbproof draws no promise from this directive"
	WhyAnswer = "the content of answers is not judged"
)

// Reasons gives every word its reason; lists has the words of each, with blanks between them. It panics where a word
// has two.
func Reasons(lists map[string]string) map[string]string {
	out := map[string]string{}
	for why, words := range lists {
		for _, word := range strings.Fields(words) {
			if _, twice := out[word]; twice {
				panic("two reasons for " + word)
			}
			out[word] = why
		}
	}
	return out
}
