package plan

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Unlimited and 0 are different, and both survive writing and reading a plan.
func TestParamsRoundTrip(t *testing.T) {
	params := Params{ParamAttempts: LimitAmount(0), ParamMaxBytes: LimitAmount(1 << 20), ParamShare: 0, "10.0.0.1:80": 0.25}
	text, err := json.Marshal(params)
	require.NoError(t, err)
	assert.JSONEq(t, `{"attempts": 0, "max_bytes": 1048576, "share": 0, "10.0.0.1:80": 0.25}`, string(text))
	var again Params
	require.NoError(t, json.Unmarshal(text, &again))
	assert.Equal(t, params, again)
	assert.False(t, again[ParamAttempts].IsLimited())
	assert.True(t, again[ParamShare].IsLimited())
	assert.Zero(t, again[ParamAttempts].Int())
}

func TestUnits(t *testing.T) {
	assert.Equal(t, UnitBytes, ParamMaxBytes.Unit())
	assert.Equal(t, UnitShare, Param("10.0.0.1:80").Unit())
	assert.Error(t, json.Unmarshal([]byte(`{"max_bytes": "many"}`), new(Params)))
}
