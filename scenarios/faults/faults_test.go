package faults

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// frozen is a node in memory; deaf is one that takes orders and does nothing.
type frozen struct{ is, deaf bool }

func (f *frozen) Pause(context.Context) error          { f.is = !f.deaf; return nil }
func (f *frozen) Unpause(context.Context) error        { f.is = false; return nil }
func (f *frozen) Paused(context.Context) (bool, error) { return f.is, nil }

type broken struct{ frozen }

func (*broken) Pause(context.Context) error { return errors.New("no such container") }

func TestPause(t *testing.T) {
	node := &frozen{}
	heal, err := pause.Inject(t.Context(), node)
	require.NoError(t, err)
	assert.True(t, node.is)
	require.NoError(t, heal(t.Context()))
	assert.False(t, node.is)
}

// A fault that did not take effect is an error, not a fault.
func TestPauseThatHasNoEffect(t *testing.T) {
	_, err := pause.Inject(t.Context(), &frozen{deaf: true})
	assert.ErrorContains(t, err, "the node is paused: false, after it was ordered: true")
	_, err = pause.Inject(t.Context(), &broken{})
	assert.ErrorContains(t, err, "no such container")
}

func TestFind(t *testing.T) {
	for _, f := range All {
		found, err := Find(f.Name)
		require.NoError(t, err)
		assert.NotEmpty(t, found.Doc)
	}
	_, err := Find("earthquake")
	assert.ErrorContains(t, err, "earthquake")
}
