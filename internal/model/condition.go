package model

// Condition is one that requests meet or miss.
type Condition struct {
	Terms  []Term `json:"terms,omitempty"` // that must hold; none: lbproof cannot read the condition
	Source string `json:"source"`          // as the user wrote it
}

// Term compares a part of a request.
type Term struct {
	Variable Variable `json:"variable"`
	Name     string   `json:"name,omitempty"` // of a RequestHeader in its canonical form, an Argument or a Cookie
	Op       Op       `json:"op"`
	Value    string   `json:"value"`
	Negated  bool     `json:"negated,omitempty"` // it holds where the comparison does not
}

// Op is how a term compares.
type Op string

// The comparisons.
const (
	OpEquals  Op = "is"   // the variable is the value
	OpMatches Op = "fits" // some part of the variable fits the value, a regular expression
)

// String is the condition as the user wrote it.
func (c Condition) String() string { return c.Source }

// IsReadable reports whether lbproof knows which requests meet the condition.
func (c Condition) IsReadable() bool { return len(c.Terms) > 0 }

// Sources are the texts of conditions.
func Sources(conditions []Condition) []string {
	var texts []string
	for _, c := range conditions {
		texts = append(texts, c.Source)
	}
	return texts
}
