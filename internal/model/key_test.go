package model

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestKeysAsText(t *testing.T) {
	for want, k := range map[string]Key{
		"$http_x":              {Variable: RequestHeader, Name: "x", Source: "$http_x"},
		"the header X-Key":     {Variable: RequestHeader, Name: "X-Key"},
		"the request's host":   {Variable: Host},
		"the client's address": {Variable: ClientAddress},
		"the client's address (IPv4: its first three octets)": {Variable: ClientAddress, Prefix: 24},
		"the client's address (IPv4: its first 20 bits)":      {Variable: ClientAddress, Prefix: 20},
		"the cookie id":   {Variable: Cookie, Name: "id"},
		"the server name": {Variable: ServerName},
	} {
		assert.Equal(t, want, k.String())
		assert.False(t, k.IsEmpty())
	}
	assert.True(t, Key{}.IsEmpty())
}

func TestExemptionsAsText(t *testing.T) {
	for want, e := range map[string]Exemption{
		"those that do not bring it":           {Kind: KeyNotSent},
		"those whose $a is x or y":             {Kind: KeyMappedEmpty, From: "$a", Values: []string{"x", "y"}},
		"those whose $a the map does not name": {Kind: KeyNotMapped, From: "$a"},
	} {
		assert.Equal(t, want, e.String())
		assert.True(t, e.IsSet())
	}
	assert.Empty(t, Exemption{}.String())
	assert.False(t, Exemption{}.IsSet())
}
