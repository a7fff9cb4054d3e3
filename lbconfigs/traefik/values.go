package traefik

import (
	"fmt"
	"strconv"
	"time"

	"github.com/lbproof/lbproof/lbconfigs/reading"
)

// readNumber is a scalar as a number, or otherwise where it is none.
func readNumber(t *reading.Tree, otherwise int) int {
	n, err := strconv.Atoi(t.Text())
	if err != nil {
		return otherwise
	}
	return n
}

// readDuration is a scalar as a time, or otherwise where it is none.
func readDuration(t *reading.Tree, otherwise time.Duration) time.Duration {
	d, err := parseTime(t.Text())
	if err != nil {
		return otherwise
	}
	return d
}

// parseTime reads Traefik's notation of times: Go's, or a bare number of seconds.
func parseTime(text string) (time.Duration, error) {
	if n, err := strconv.Atoi(text); err == nil {
		return time.Duration(n) * time.Second, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		return 0, fmt.Errorf("%q is no time, as 10s or 500ms", text)
	}
	return d, nil
}
