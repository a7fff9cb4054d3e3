package docker

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
)

func TestStepReportsElapsedTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var lines []string
		e := &Engine{Progress: func(line string) { lines = append(lines, line) }}
		failed := errors.New("no space left")
		err := e.step("building x", func() error {
			time.Sleep(12 * time.Second)
			return failed
		})
		assert.Equal(t, failed, err)
		assert.Equal(t, []string{"building x", "building x: 5s so far", "building x: 10s so far"}, lines)
	})
}
