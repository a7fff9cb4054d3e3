package model

// Condition is a condition on requests.
type Condition struct {
	Terms  []Term `json:"terms,omitempty"` // all must hold; none: unreadable
	Source string `json:"source"`          // as the user wrote it
}

// Term compares a part of a request with a value.
type Term struct {
	Variable Variable `json:"variable"`
	Name     string   `json:"name,omitempty"` // of a RequestHeader (canonical), Argument or Cookie
	Op       Op       `json:"op"`
	Value    string   `json:"value"`
	Negated  bool     `json:"negated,omitempty"` // true if the comparison is false
}

// Op is how a term compares.
type Op string

// The comparisons.
const (
	OpEquals  Op = "is"   // the variable equals the value
	OpMatches Op = "fits" // the variable matches the value, a regular expression
)

// String returns the condition as the user wrote it.
func (c Condition) String() string { return c.Source }

// IsReadable reports whether lbproof knows which requests meet the condition.
func (c Condition) IsReadable() bool { return len(c.Terms) > 0 }

// Sources returns conditions as the user wrote them.
func Sources(conditions []Condition) []string {
	var texts []string
	for _, c := range conditions {
		texts = append(texts, c.Source)
	}
	return texts
}
