package nginx

import (
	"strings"

	"github.com/lbproof/lbproof/internal/model"
)

// keyVariables are the variables without a name in them that can be a key.
var keyVariables = map[string]model.Key{
	"$binary_remote_addr": {Variable: model.ClientAddress},
	"$remote_addr":        {Variable: model.ClientAddress, AsText: true},
	"$request_uri":        {Variable: model.URI},
	"$uri":                {Variable: model.Path},
	"$host":               {Variable: model.Host},
	"$server_name":        {Variable: model.ServerName},
	"$request_id":         {Variable: model.RequestID},
}

// readKey reads the key of a hash, a zone or a split.
func readKey(text string) model.Key {
	key, known := keyVariables[text]
	if !known {
		key = readNamedKey(text)
	}
	key.Source = text
	return key
}

// readNamedKey reads a key with a name in its variable, as $http_NAME.
func readNamedKey(text string) model.Key {
	if name, is := strings.CutPrefix(text, "$http_"); is {
		return model.Key{Variable: model.RequestHeader, Name: strings.ReplaceAll(name, "_", "-")}
	}
	if name, is := strings.CutPrefix(text, "$cookie_"); is {
		return model.Key{Variable: model.Cookie, Name: name}
	}
	if name, is := strings.CutPrefix(text, "$arg_"); is {
		return model.Key{Variable: model.Argument, Name: name}
	}
	return model.Key{Variable: model.OtherVariable}
}
