package docker

import (
	"fmt"
	"sync"
	"time"
)

// stepInterval is how often a long step reports that it goes on.
const stepInterval = 5 * time.Second

// step reports what do does before it begins and, while it lasts, how long it has taken.
func (e *Engine) step(what string, do func() error) error {
	e.Progress(what)
	began, ticker, done := time.Now(), time.NewTicker(stepInterval), make(chan struct{})
	defer ticker.Stop()
	var reporting sync.WaitGroup
	defer reporting.Wait()
	defer close(done)
	reporting.Go(func() {
		for {
			select {
			case <-done:
				return
			case <-ticker.C:
				e.Progress(fmt.Sprintf("%s: %s so far", what, time.Since(began).Round(time.Second)))
			}
		}
	})
	return do()
}
