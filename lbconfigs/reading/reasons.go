package reading

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
