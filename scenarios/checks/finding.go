package checks

// Finding is the evidence on one claim.
type Finding struct {
	N         int     // observations that bear on the claim
	Need      int     // observations that make an Upheld worth its name
	P         float64 // p-value, read only where Tested
	Tested    bool
	Anytime   bool     // P holds however few observations there are
	Counter   []string // observations that contradict the claim whatever the chance
	Broken    string   // why the law does not apply to this run
	Cannot    string   // why no run of this harness can decide it
	Test      string   // the law used
	Measured  string
	Predicted string
	Power     string // what the run would have caught
	Note      string
}
