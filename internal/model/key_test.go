package model

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestKeysAsText(t *testing.T) {
	for want, k := range map[string]Key{
		"$http_x":            {Variable: RequestHeader, Name: "x", Source: "$http_x"},
		"header X-Key":       {Variable: RequestHeader, Name: "X-Key"},
		"the request host":   {Variable: Host},
		"the client address": {Variable: ClientAddress},
		"the client address, its first 3 octets if IPv4": {Variable: ClientAddress, Prefix: 24},
		"the client address, its first 20 bits if IPv4":  {Variable: ClientAddress, Prefix: 20},
		"cookie id":       {Variable: Cookie, Name: "id"},
		"the server name": {Variable: ServerName},
	} {
		assert.Equal(t, want, k.String())
		assert.False(t, k.IsEmpty())
	}
	assert.True(t, Key{}.IsEmpty())
}

func TestExemptionsAsText(t *testing.T) {
	for want, e := range map[string]Exemption{
		"requests without it":                 {Kind: KeyNotSent},
		"requests whose $a is x or y":         {Kind: KeyMappedEmpty, From: "$a", Values: []string{"x", "y"}},
		"requests whose $a is not in the map": {Kind: KeyNotMapped, From: "$a"},
	} {
		assert.Equal(t, want, e.String())
		assert.True(t, e.IsSet())
	}
	assert.Empty(t, Exemption{}.String())
	assert.False(t, Exemption{}.IsSet())
}
