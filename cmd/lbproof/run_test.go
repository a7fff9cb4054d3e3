package main

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/stack"
)

// A refusal is reported with lbproof's advice; other errors are unchanged.
func TestRefusalIsExplained(t *testing.T) {
	problems := []model.Problem{
		{Pos: model.Pos{File: "f", Line: 2}, Effect: model.Rejected, Text: "no such\nthing", Instead: "another"},
		{Pos: model.Pos{File: "f", Line: 3}, Effect: model.Inert, Text: "idle"},
	}
	err := withProblems(&stack.RefusedError{Text: "f:2: refused"}, problems)
	assert.EqualError(t, err, "f:2: refused\nf:2: no such\\nthing; instead: another")
	var refused *stack.RefusedError
	assert.ErrorAs(t, err, &refused, "it is still the user's mistake")
	other := errors.New("no Docker")
	assert.Equal(t, other, withProblems(other, problems))
	assert.NoError(t, withProblems(nil, problems))
}
