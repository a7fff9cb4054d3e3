package haproxy

import (
	"strconv"
	"strings"

	"github.com/lbproof/lbproof/internal/model"
)

// defaultDraws is the number of draws of random (configuration manual, section 4.2, balance).
const defaultDraws = 2

// readBalance reads the balancing of a section.
func readBalance(s section) model.Balance {
	l, ok := s.last("balance")
	if !ok {
		return model.Balance{Kind: model.RoundRobin, Rotation: model.FairWeighted}
	}
	b := model.Balance{Pos: l.pos, Source: strings.Join(l.wordsFrom(1), " ")}
	switch word := l.word(1); word {
	case "roundrobin":
		b.Kind, b.Rotation = model.RoundRobin, model.FairWeighted
	case "static-rr":
		b.Kind, b.Rotation = model.RoundRobin, model.StaticMap
	case "leastconn":
		b.Kind, b.Rotation, b.Load = model.LeastConnections, model.Unweighted, model.NextPerWeight
	case "first":
		b.Kind = model.FillFirst
	case "source":
		b.Kind, b.Hash = model.ByHash, &model.Hash{Key: model.Key{Variable: model.ClientAddress}, IncludesBackups: true}
	case "uri", "url_param", "hdr", "hash", "rdp-cookie":
		b.Kind, b.Hash = model.ByHash, &model.Hash{Key: readKey(b.Source), IncludesBackups: true}
	default:
		if strings.HasPrefix(word, "random") {
			b.Kind, b.Draw, b.Choices = readRandom(word)
		}
	}
	if b.Hash != nil {
		readHashType(s, l.word(1), b.Hash)
	}
	return b
}

// readHashType reads hash-type. lbproof knows the default functions for source and uri.
func readHashType(s section, word string, hash *model.Hash) {
	l, ok := s.last("hash-type")
	hash.Consistent = ok && l.word(1) == "consistent"
	isDefault := !ok || len(l.wordsFrom(2)) == 0
	switch {
	case !isDefault || word != "source" && word != "uri":
	case hash.Consistent:
		hash.Function = model.NumberRing
	default:
		hash.Function = model.WeightMap
	}
}

// readRandom reads random or random(DRAWS), which takes the least busy of the drawn servers.
func readRandom(word string) (kind model.BalanceKind, draw model.DrawWeighting, choices int) {
	choices = defaultDraws
	number := strings.TrimSuffix(strings.TrimPrefix(word, "random("), ")")
	if n, err := strconv.Atoi(number); err == nil && n > 0 {
		choices = n
	}
	if choices == 1 {
		return model.Random, model.DrawnByArcs, 1
	}
	return model.LeastConnections, model.DrawnByArcs, choices
}
