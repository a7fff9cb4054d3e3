package reading

import "strings"

// Why a directive promises nothing that traffic could show.
const (
	ReasonLog     = "says what is written down, not what is answered"
	ReasonSpeed   = "changes speed and memory, not what is answered"
	ReasonFiles   = "where the balancer keeps its files"
	ReasonForm    = "read together with the lines that use it"
	ReasonLimits  = "a limit of the machine: the balancer's own start tells whether it holds"
	ReasonUnread  = "lbproof draws no promise from this directive"
	ReasonContent = "the content of answers is not judged"
)

// IndexReasons gives every word its reason; lists has the words of each, with blanks between them. It panics where a word
// has two.
func IndexReasons(lists map[string]string) map[string]string {
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
