package backends

import (
	"bytes"
	"encoding/json"
	"io"
	"strconv"
	"strings"
)

// Model is a LEGO model. Numbers keep the client's digits.
type Model struct {
	Name       string      `json:"name"`
	Pieces     json.Number `json:"pieces"`
	Theme      string      `json:"theme"`
	Difficulty string      `json:"difficulty"`
	PriceUS    json.Number `json:"price_us"`
	Year       json.Number `json:"year"`
}

// Invalid is the first invalid property of a request body, with the reason in Pydantic's words.
type Invalid struct{ Property, Reason string }

// ParseModel parses a request body by Pydantic's strict types: strings and numbers are not converted, and an integer is
// a valid float but not vice versa. It returns the first invalid property in the model's order.
func ParseModel(body []byte) (Model, *Invalid) {
	var fields map[string]any
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.UseNumber()
	err := decoder.Decode(&fields)
	if err == nil {
		if _, after := decoder.Token(); after != io.EOF {
			return Model{}, &Invalid{"body", "Body could not be processed: text after the JSON value"}
		}
	}
	if err != nil || fields == nil {
		return Model{}, &Invalid{"body", "Body could not be processed: a JSON object is needed"}
	}
	var m Model
	checks := []*Invalid{
		text(fields, "name", &m.Name),
		integer(fields, "pieces", &m.Pieces),
		text(fields, "theme", &m.Theme),
		oneOf(fields, "difficulty", &m.Difficulty),
		float(fields, "price_us", &m.PriceUS),
		integer(fields, "year", &m.Year),
	}
	for _, invalid := range checks {
		if invalid != nil {
			return Model{}, invalid
		}
	}
	return m, nil
}

func text(fields map[string]any, name string, into *string) *Invalid {
	value, there := fields[name]
	if !there {
		return &Invalid{name, "Field required"}
	}
	s, ok := value.(string)
	if !ok {
		return &Invalid{name, "Input should be a valid string"}
	}
	*into = s
	return nil
}

func oneOf(fields map[string]any, name string, into *string) *Invalid {
	if _, there := fields[name]; !there {
		return &Invalid{name, "Field required"}
	}
	switch s, _ := fields[name].(string); s {
	case "easy", "medium", "hard":
		*into = s
		return nil
	}
	return &Invalid{name, "Input should be 'easy', 'medium' or 'hard'"}
}

func integer(fields map[string]any, name string, into *json.Number) *Invalid {
	value, there := fields[name]
	if !there {
		return &Invalid{name, "Field required"}
	}
	n, ok := value.(json.Number)
	if !ok || strings.ContainsAny(string(n), ".eE") {
		return &Invalid{name, "Input should be a valid integer"}
	}
	*into = n
	return nil
}

// float formats a whole number like Python prints a float: 199 becomes 199.0.
func float(fields map[string]any, name string, into *json.Number) *Invalid {
	value, there := fields[name]
	if !there {
		return &Invalid{name, "Field required"}
	}
	n, ok := value.(json.Number)
	if _, err := strconv.ParseFloat(string(n), 64); !ok || err != nil {
		return &Invalid{name, "Input should be a valid number"}
	}
	if !strings.ContainsAny(string(n), ".eE") {
		n += ".0"
	}
	*into = n
	return nil
}
