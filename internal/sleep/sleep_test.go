package sleep

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
)

func TestFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		assert.True(t, For(t.Context(), time.Minute))
		assert.Equal(t, time.Minute, time.Since(began))
		assert.True(t, Until(t.Context(), began.Add(time.Hour)))
		assert.Equal(t, time.Hour, time.Since(began))

		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began = time.Now()
		assert.False(t, For(ctx, time.Minute))
		assert.False(t, Until(ctx, began.Add(time.Minute)))
		assert.Equal(t, time.Second, time.Since(began))
		assert.True(t, For(ctx, 0))
	})
}
