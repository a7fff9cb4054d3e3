package reading

import "strings"

// Reasons why a directive makes no claim that traffic could test.
const (
	ReasonLog     = "affects logging, not responses"
	ReasonSpeed   = "affects performance, not responses"
	ReasonFiles   = "concerns the balancer's own files and users"
	ReasonForm    = "evaluated with the lines that use it"
	ReasonLimits  = "a limit of the machine, tested by starting the balancer"
	ReasonUnread  = "lbproof derives no claim from this directive"
	ReasonContent = "the content of responses is not evaluated"
)

// IndexReasons returns the reason of every word; lists has the words of each reason, separated by spaces. It panics if
// a word has two reasons.
func IndexReasons(lists map[string]string) map[string]string {
	out := map[string]string{}
	for reason, words := range lists {
		for _, word := range strings.Fields(words) {
			if _, twice := out[word]; twice {
				panic("two reasons for " + word)
			}
			out[word] = reason
		}
	}
	return out
}
