package traefik

import (
	"fmt"
	"strconv"
	"time"

	"github.com/lbproof/lbproof/lbconfigs/reading"
)

// readNumber returns a scalar as a number; default: otherwise.
func readNumber(t *reading.Tree, otherwise int) int {
	n, err := strconv.Atoi(t.Text())
	if err != nil {
		return otherwise
	}
	return n
}

// readDuration returns a scalar as a duration; default: otherwise.
func readDuration(t *reading.Tree, otherwise time.Duration) time.Duration {
	d, err := parseTime(t.Text())
	if err != nil {
		return otherwise
	}
	return d
}

// parseTime parses Traefik's notation of durations: Go's, or a number of seconds.
func parseTime(text string) (time.Duration, error) {
	if n, err := strconv.Atoi(text); err == nil {
		return time.Duration(n) * time.Second, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		return 0, fmt.Errorf("%q is not a duration such as 10s or 500ms", text)
	}
	return d, nil
}
