// Package sleep waits for a duration or until a context ends.
package sleep

import (
	"context"
	"time"
)

// For waits for d. It reports false if ctx ended first; if d is not positive, it returns true without checking ctx.
func For(ctx context.Context, d time.Duration) bool {
	return d <= 0 || wait(ctx, d)
}

// Until waits until a time. It reports false if ctx ended first.
func Until(ctx context.Context, at time.Time) bool {
	return wait(ctx, time.Until(at))
}

func wait(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
